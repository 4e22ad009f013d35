"""What everything else stands on: who may do what, and who did."""
