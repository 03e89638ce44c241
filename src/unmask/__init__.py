"""unmask: the whole life of a BERT-family language model."""
