"""Language models that read item titles and item vectors, on the backbone: what such recommenders share."""
