"""What both model servers promise (docs/design/0003, section 5), asserted against each over the wire."""
