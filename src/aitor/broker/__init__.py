"""The broker: requests in, replies out, one actor a provider."""
