"""The image engine: one source image in, one encoded derivative per tier out.

Knows nothing of stores or files.
"""

from fpj_worker.engine.pipeline import Encoded, ProcessedImage, process_image

__all__ = ["Encoded", "ProcessedImage", "process_image"]
