"""S-DPO: a language-model recommender trained on to prefer the item that came next over several others."""
