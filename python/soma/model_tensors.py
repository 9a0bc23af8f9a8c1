"""A model as its files have it: tensors that are views of mapped pages.

Each file is mapped once, shared and read-only, so that replicas share its pages
and nothing is read before it is used. No byte is copied and nothing is run.
"""
import collections.abc
import difflib
import mmap
import os

from _soma import _worker, model_files

# By the name that safetensors has: bytes of an element, and what numpy calls it.
DTYPES = {
    "BOOL": (1, "?"), "U8": (1, "u1"), "I8": (1, "i1"), "U16": (2, "<u2"), "I16": (2, "<i2"), "U32": (4, "<u4"), "I32": (4, "<i4"),
    "U64": (8, "<u8"), "I64": (8, "<i8"), "F8_E4M3": (1, None), "F8_E5M2": (1, None), "F16": (2, "<f2"), "BF16": (2, None),
    "F32": (4, "<f4"), "F64": (8, "<f8"), "C64": (8, "<c8"), "C128": (16, "<c16"),
}
# Those that numpy has not itself.
ML_DTYPES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def _numpy_dtype(numpy, tensor):
    kind = DTYPES[tensor.dtype][1]
    if kind is None:
        try:
            import ml_dtypes
        except ImportError:
            raise TypeError("the tensor %r has %s, which numpy has not: take .torch(), or add ml_dtypes to requirements.txt" % (tensor.name, tensor.dtype))
        kind = getattr(ml_dtypes, ML_DTYPES[tensor.dtype])
    return numpy.dtype(kind)


class Tensor:
    """One tensor of a file. Views of it are read-only: to write, copy first."""

    __slots__ = ("name", "dtype", "shape", "stride", "nbytes", "itemsize", "buffer", "offset", "extent")

    def __init__(self, buffer, row):
        self.name, self.dtype, self.shape, stride, self.offset, self.extent = row
        self.buffer = buffer  # the mapping
        self.itemsize = DTYPES[self.dtype][0]
        # A dimension of one takes no step: what the file says of it may be too large for a view.
        self.stride = stride and tuple(step if size > 1 else 1 for step, size in zip(stride, self.shape))  # in elements; None: row-major
        self.nbytes = self.itemsize
        for size in self.shape:
            self.nbytes *= size

    def __repr__(self):
        return "<Tensor %s: %s%s>" % (self.name, self.dtype, list(self.shape))

    def numpy(self):
        """A numpy array over the mapping."""
        import numpy

        kind = _numpy_dtype(numpy, self)
        if not self.extent:
            empty = numpy.empty(self.shape, kind)
            empty.flags.writeable = False
            return empty
        strides = self.stride and [step * self.itemsize for step in self.stride]
        return numpy.ndarray(self.shape, kind, self.buffer, self.offset, strides)

    def torch(self):
        """A torch tensor over the mapping. A write to one ends the process (SIGSEGV): clone() first."""
        from _soma import model_torch

        return model_torch.view(self)

    def __dlpack__(self, **more):
        # Of numpy's those that know of read-only arrays alone; torch has all dtypes.
        try:
            view = self.torch()
        except ImportError:
            view = self.numpy()
        return view.__dlpack__(**more)

    def __dlpack_device__(self):
        return (1, 0)  # kDLCPU


class Model(collections.abc.Mapping):
    """The tensors at a path, by name."""

    def __init__(self, path):
        found = model_files.find(path)
        self.path = found.folder
        self._tensors = {}
        for file in found.files:
            self._add(found, file)
        absent = [name for name in found.of or () if name not in self._tensors]
        if absent:
            name = absent[0]
            raise ValueError("%s: says that %.200r is in %s, which has no such tensor: fetch the model anew" % (os.path.join(found.folder, found.index), name, found.of[name]))

    def _add(self, found, file):
        shown = os.path.join(found.folder, file)
        fd = model_files.open_file(found.folder, file)
        try:
            rows = _worker.weights(fd, shown.encode("utf-8", "replace").decode("utf-8"))
            buffer = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        for row in rows:
            name = row[0]
            if found.of is not None and found.of.get(name) != file:
                continue
            if name in self._tensors:
                raise ValueError("%s: has the tensor %.200r, which another file has, too: give each file a folder, or the folder an index" % (shown, name))
            if row[4] + row[5] > len(buffer):
                raise ValueError("%s: was changed while it was opened" % shown)
            self._tensors[name] = Tensor(buffer, row)

    def __getitem__(self, name):
        try:
            return self._tensors[name]
        except KeyError:
            near = difflib.get_close_matches(str(name), self._tensors, 1)
            raise KeyError("the model has no tensor %r%s" % (name, "; did you mean %r?" % near[0] if near else ", but %s" % model_files.listed(self._tensors)))

    def __contains__(self, name):
        return name in self._tensors

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __repr__(self):
        return "<Model %s: %d tensors>" % (self.path, len(self))
