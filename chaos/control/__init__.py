"""The doors through which faults act: clients of proxies and simulator, and who puts faults in and out."""
