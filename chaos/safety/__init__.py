"""What keeps a run from hurting more than it may: locks, leases, the warden, undoing, addresses."""
