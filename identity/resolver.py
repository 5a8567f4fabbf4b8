"""Pure resolution of judgements to clusters."""
