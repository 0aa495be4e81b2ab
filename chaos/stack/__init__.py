"""The stack: the processes under test and what they talk to, started, watched and stopped as one."""
