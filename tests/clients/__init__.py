"""The clients of the public documents, over HTTP, with the bodies that the documents give."""
