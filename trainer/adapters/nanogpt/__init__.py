"""karpathy/nanoGPT, unmodified, and trainers of the same shape."""
