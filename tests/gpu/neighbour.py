"""`neighbour.py MIB` takes the GPU's memory but for so many MiB, says so, and holds it until its input ends."""

import ctypes
import sys

from tftrt_runtime.device.cuda import Cuda

# Smaller and smaller pieces, for the device's free memory is not in one.
PIECES_MIB = (1024, 64, 2)


def main(left_mib: int) -> None:
    """Take it, and wait."""
    cuda = Cuda()
    driver = ctypes.CDLL("libcuda.so.1")
    context = ctypes.c_void_p()
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxPushCurrent_v2(context) == 0
    for piece in PIECES_MIB:
        while (cuda.free_and_total()[0] >> 20) - left_mib >= piece:
            if driver.cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(piece << 20)):
                break
    print(f"{cuda.free_and_total()[0] >> 20} MiB left", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
