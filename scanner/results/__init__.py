"""From scores to what people read: candidates, footprint, pages, exports."""
