"""The sections of the report, one module each; `context` says what they are given and give."""
