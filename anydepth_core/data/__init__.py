"""Data: preprocessing shared by evaluation and node, COCO annotations, augmentation, loading.

Nothing is imported here: `preprocess` serves robots without the packages that `loader` needs.
"""
