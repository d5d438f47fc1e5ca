"""A module that cannot be imported, as one whose library is missing."""

raise OSError("libsomething.so.42: cannot open shared object file")
