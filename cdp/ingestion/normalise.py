"""Pure normalisation."""
