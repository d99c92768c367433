"""Any-depth RT-DETR (arXiv 2304.08069; any-depth: arXiv 2605.09407)."""
