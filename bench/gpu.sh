#!/usr/bin/env bash
# Measures the CUDA provider on a machine with an NVIDIA GPU, PyTorch and CUDA 13, but without a network.
#
#   bench/gpu.sh pack [ARCH]       here: packs the files that the machine lacks into .gpu/runtime.xz and .gpu/bench.tar.xz (60 MB in
#                                  all, in two calls if need be); ARCH is the card's compute capability (default 90, an H100 or H200)
#   BOX=DIR bench/gpu.sh unpack    there: unpacks both into DIR
#   BOX=DIR OUT=DIR bench/gpu.sh   there: measures, in under five minutes, into OUT
#
# The CUDA build of ONNX Runtime exceeds the upload limit, so only the card's kernels are kept. PROVIDER=cpu rehearses all of it on a CPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=1.31.1
GPU=.gpu
BOX=${BOX:-.gpu/box}
PROVIDER=${PROVIDER:-cuda}
PYTHON=${PYTHON:-python3}

pack() {
  local work=$GPU/wheel
  rm -rf "$work" && mkdir -p "$work/box/internal/ort" "$work/box/models"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
    --dest "$work" "onnxruntime-gpu==$VERSION"
  unzip -q "$work"/*.whl 'onnxruntime/capi/libonnxruntime*' -d "$work"
  python3 bench/cubins.py "$work/onnxruntime/capi/libonnxruntime_providers_cuda.so" "$1"
  xz -T0 -3 <"$work/onnxruntime/capi/libonnxruntime_providers_cuda.so" >"$GPU/runtime.xz"
  cp "$work/onnxruntime/capi/libonnxruntime.so.$VERSION" "$work/box/libonnxruntime.so.1"
  cp "$work/onnxruntime/capi/libonnxruntime_providers_shared.so" "$work/box/"
  go test -c -trimpath -ldflags '-s -w' -o "$work/box/internal/ort/ort.test" ./internal/ort
  cp -r internal/ort/testdata "$work/box/internal/ort/"
  go build -trimpath -ldflags '-s -w' -o "$work/box/stegomq" ./cmd/stegomq
  cp -r models/invertible-mk "$work/box/models/"
  tar -C "$work/box" -cf - . | xz -T0 -3 >"$GPU/bench.tar.xz"
  rm -rf "$work"
  ls -l "$GPU"/*.xz
}

unpack() {
  mkdir -p "$BOX"
  xz -dc "$GPU/bench.tar.xz" | tar -C "$BOX" -xf -
  xz -dc "$GPU/runtime.xz" >"$BOX/libonnxruntime_providers_cuda.so"
}

# The CUDA libraries of PyTorch.
cuda_libraries() {
  "$PYTHON" -c 'import nvidia, pathlib
for base in nvidia.__path__: print(*{str(file.parent) for file in pathlib.Path(base).rglob("*.so*")}, sep=":")' 2>/dev/null | paste -sd: || true
}

device() { # SIDES BATCHES KEYS [TIME]
  (cd "$BOX/internal/ort" && STEGOMQ_BENCH_PROVIDER=$PROVIDER STEGOMQ_BENCH_SIDES=$1 STEGOMQ_BENCH_BATCHES=$2 STEGOMQ_BENCH_KEYS=$3 \
    ./ort.test -test.run '^$' -test.bench Device -test.benchtime "${4:-1s}" -test.cpu 2)
}

measure() {
  mkdir -p "$OUT"
  # A broken set-up fails here, in seconds.
  device 64 1 1 1x >"$OUT/rehearsal.txt" 2>&1 || { cat "$OUT/rehearsal.txt"; exit 1; }
  if [[ $PROVIDER == cpu ]]; then
    device 64 1,2 1,4 3x
    "$PYTHON" bench/pytorch.py "$BOX/models/invertible-mk" --sides 64 --batches 1 2 --seconds 0.1
  else
    device 256 1,8,64 1,1000
    device 512 1,16 1
    "$PYTHON" bench/pytorch.py "$BOX/models/invertible-mk" --sides 256 --batches 1 8 64
    "$PYTHON" bench/pytorch.py "$BOX/models/invertible-mk" --sides 512 --batches 1 16
  fi 2>&1 | grep --line-buffered -v 'images from seed' | tee "$OUT/throughput.txt"
}

if [[ ${1:-} == pack ]]; then pack "${2:-90}"; exit; fi
if [[ ${1:-} == unpack ]]; then unpack; exit; fi
export STEGOMQ_ORT_LIB
STEGOMQ_ORT_LIB=$(realpath -m "$BOX")/libonnxruntime.so.1
LD_LIBRARY_PATH=$(cuda_libraries)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
measure
