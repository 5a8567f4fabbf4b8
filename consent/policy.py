"""Pure decisions about consent."""
