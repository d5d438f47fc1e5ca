"""``python -m fpj_worker.pod``."""

from fpj_worker.pod import main

if __name__ == "__main__":
    main()
