"""Messages and stubs generated from `proto/sealane/v1`, as protoc writes them."""
