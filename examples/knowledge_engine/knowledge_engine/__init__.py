"""A knowledge engine over Sealane: PDFs in, cited answers out, whichever region is alive."""
