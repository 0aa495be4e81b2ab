"""What users see when a dependency goes bad: the rows of docs/explanation/scenarios.md, on real parts."""
