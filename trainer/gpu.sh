#!/usr/bin/env bash
# Trains on a machine with an NVIDIA GPU and PyTorch from which nothing else can be reached, in calls of a few minutes.
#
#   trainer/gpu.sh pack                 here: photographs and what came back last go into .gpu, which the call carries
#   OUT=DIR trainer/gpu.sh [NAME...]    there: trains the runs named, side by side, for CALL seconds (default 540)
#   trainer/gpu.sh unpack DIR           here: puts what came back into RUNS
#
# Without names a call takes the first stage that is not done: invertible-rk and invertible-mk, then pusnet-mk at full
# width, then Table 1 at full width. A run whose budget is not used up goes on in the next call where it stopped. A run
# comes back as one tar archive, cut into pieces of 15 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CALL=${CALL:-540}
RUNS=${RUNS:-out/gpu}
PHOTOGRAPHS=${PHOTOGRAPHS:-../shared/data/train}
PYTHON=${PYTHON:-python3}
PIECE=15000000
BOX=.gpu
# Outside of what a call replaces: a machine that is still held goes on with what lies there.
WORK=${WORK:-/tmp/stegomq-gpu}

stages=("invertible-rk invertible-mk" "pusnet-mk"
  "table1-pusnet-mk table1-pusnet table1-hinet-1 table1-hinet-2"
  "table1-hidden-1 table1-hidden-2 table1-baluja-1 table1-baluja-2 table1-udh-1 table1-udh-2")

# The arguments of `train` for a run. Large crops and batches, which a GPU does as fast as small ones.
recipe() {
  local wide=(--set training.batch=16 --set training.crop=128 --set training.late=1.0
    --set training.compile=true --set training.checkpoint_seconds=60 --set training.held_out=0)
  case $1 in
    invertible-rk) echo trainer/configs/invertible-rk.toml --seconds 1000 "${wide[@]}" ;;
    invertible-mk) echo trainer/configs/invertible-mk.toml --from models/invertible-mk --seconds 540 "${wide[@]}" \
      --set losses.unregistered=0.5 ;;
    pusnet-mk) echo trainer/configs/pusnet-mk.toml --set training.held_out=0 ;;
    table1-*)
      local method=${1#table1-}
      local instance=1
      if [[ $method =~ ^(.*)-([12])$ ]]; then method=${BASH_REMATCH[1]} instance=${BASH_REMATCH[2]}; fi
      echo "trainer/configs/table1/$method.toml" --instance "$instance" --set "model.config={}" "${wide[@]}" \
        --set training.compact=true --seconds 240
      ;;
    *) echo "gpu.sh: no run is called $1" >&2; return 2 ;;
  esac
}

pack() {
  mkdir -p "$BOX/photographs" "$BOX/runs"
  cp -u "$PHOTOGRAPHS"/*.jpg "$BOX/photographs/"
  for run in "$RUNS"/*/; do
    if [[ -f $run/checkpoint.npz ]]; then tar -C "$RUNS" -cf "$BOX/runs/$(basename "$run").tar" "$(basename "$run")"; fi
  done
  du -sh "$BOX"
}

unpack() {
  mkdir -p "$RUNS"
  for first in "$1"/*.tar.aa; do
    cat "${first%aa}"* | tar -C "$RUNS" -xf -
  done
  ls "$RUNS"
}

done_already() { # NAME
  [[ -f $WORK/$1/checkpoint.npz ]] && "$PYTHON" - "$WORK/$1" <<'PYTHON'
import json, sys, numpy
numbers = json.loads(str(numpy.load(sys.argv[1] + "/checkpoint.npz")["numbers"]))
sys.exit(numbers["seconds"] < numbers["budget"])
PYTHON
}

train() { # NAME
  local folder=$WORK/$1
  if done_already "$1"; then return; fi
  if [[ -f $folder/checkpoint.npz ]]; then
    "$PYTHON" -m trainer resume "$folder" --data "$BOX/photographs" --stop-after "$left" --threads 4
  else
    local arguments
    arguments=$(recipe "$1")
    # shellcheck disable=SC2086 # the words of a recipe have no spaces
    "$PYTHON" -m trainer train $arguments --data "$BOX/photographs" --out "$folder" --stop-after "$left" --threads 4
  fi
}

case ${1:-} in
  pack) pack; exit ;;
  unpack) unpack "$2"; exit ;;
esac

end=$((SECONDS + CALL))
mkdir -p "$WORK" "$OUT"
for archive in "$BOX"/runs/*.tar; do
  if [[ -f $archive && ! -d $WORK/$(basename "$archive" .tar) ]]; then tar -C "$WORK" -xf "$archive"; fi
done
names=("$@")
if [[ $# -eq 0 ]]; then
  for stage in "${stages[@]}"; do
    names=()
    for name in $stage; do done_already "$name" || names+=("$name"); done
    if [[ ${#names[@]} -gt 0 ]]; then break; fi
  done
fi
echo "training ${names[*]} for $CALL s"
left=$((end - SECONDS))
for name in "${names[@]}"; do
  train "$name" >"$WORK/$name.log" 2>&1 &
done
wait || true
for name in "${names[@]}"; do
  tail -n 4 "$WORK/$name.log"
  if [[ -f $WORK/$name/checkpoint.npz ]]; then
    tar -C "$WORK" -cf - "$name" | split -b "$PIECE" - "$OUT/$name.tar."
  else
    cp "$WORK/$name.log" "$OUT/"
  fi
done
