"""The text: read documents from files or the hub, tokenise them, and pack tokens into contexts."""
