#!/usr/bin/env bash
# Trains on a machine with an NVIDIA GPU and PyTorch but without a network, in calls of a few minutes.
#
#   trainer/gpu.sh pack                 here: photographs, and the runs to continue, into .gpu, which the call uploads
#   trainer/gpu.sh tree                 here: whether the upload is small enough, and which files may be left out
#   OUT=DIR trainer/gpu.sh [LANE...]    there: trains the named runs, side by side, for CALL seconds (default 540)
#   OUT=DIR trainer/gpu.sh measure      there: measures the finished runs on the photographs of .gpu/eval, into DIR/quality.txt
#   trainer/gpu.sh unpack DIR           here: puts the returned runs into RUNS
#
# A lane is the name of a run, or several with commas between them, which train one after the other. Without lanes a call
# takes the first unfinished stage: invertible-rk and invertible-mk, then pusnet-mk at full width, then the other methods of
# Table 1 at full width. A run whose budget is not used up continues in the next call. A run comes back as one tar archive,
# cut into pieces of 15 MB. SETTINGS are further --set of `train`, for a rehearsal on a CPU:
#   SETTINGS='training.batch=1 training.crop=32' THREADS=1 CALL=20 OUT=/tmp/out WORK=/tmp/work trainer/gpu.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CALL=${CALL:-540}
RUNS=${RUNS:-out/gpu}
PHOTOGRAPHS=${PHOTOGRAPHS:-../shared/data/train}
if [[ -z ${PYTHON:-} ]]; then if [[ -x .venv/bin/python ]]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi; fi
SETTINGS=${SETTINGS:-}
THREADS=${THREADS:-4}
PIECE=15000000
BOX=${BOX:-.gpu}
# Outside of the folder that a call replaces, so that a machine that is still held keeps it.
WORK=${WORK:-/tmp/stegomq-gpu}
# The most that a call may upload and return, in bytes; in at most eight files.
LIMIT=$((64 * 1024 * 1024))

# The finished runs of one stage fit into one return.
stages=("invertible-rk invertible-mk" "pusnet-mk"
  "table1-pusnet table1-hinet-1,table1-hinet-2 table1-hidden-1,table1-hidden-2,table1-baluja-1,table1-baluja-2"
  "table1-udh-1" "table1-udh-2")

# The arguments of `train` for a run. Large crops and batches, which a GPU does as fast as small ones.
recipe() {
  local wide=(--set training.batch=16 --set training.crop=128 --set training.late=1.0
    --set training.checkpoint_seconds=60 --set training.held_out=64)
  case $1 in
    invertible-rk) echo trainer/configs/invertible-rk.toml --seconds 1000 "${wide[@]}" --set training.compile=true ;;
    invertible-mk) echo trainer/configs/invertible-mk.toml --from models/invertible-mk --seconds 1060 "${wide[@]}" \
      --set training.compile=true --set training.rate=6e-4 --set losses.unregistered=0.5 --set losses.range=10.0 \
      --set losses.recover=1.25 ;;
    pusnet-mk) echo trainer/configs/pusnet-mk.toml --from models/pusnet-mk --seconds 1060 --set training.compile=true \
      --set training.held_out=64 ;;
    table1-*)
      local method=${1#table1-} seconds=260
      local instance=1 more=()
      if [[ $method =~ ^(.*)-([12])$ ]]; then method=${BASH_REMATCH[1]} instance=${BASH_REMATCH[2]}; fi
      # The keyed network serves both users in one run.
      if [[ $method == pusnet ]]; then
        seconds=520 more=(--set training.compile=true --set training.bfloat16=true --set training.batch=8)
      fi
      echo "trainer/configs/table1/$method.toml" --instance "$instance" --set "model.config={}" "${wide[@]}" \
        --set training.compact=true --seconds "$seconds" "${more[@]}"
      ;;
    *) echo "gpu.sh: no run is called $1" >&2; return 2 ;;
  esac
}

pack() {
  rm -rf "$BOX/runs" # made of RUNS anew
  mkdir -p "$BOX/photographs" "$BOX/runs"
  cp -u "$PHOTOGRAPHS"/*.jpg "$BOX/photographs/"
  for run in "$RUNS"/*/; do
    name=$(basename "$run")
    if finished "$run"; then
      touch "$BOX/runs/$name.done"
    elif [[ -f $run/checkpoint.npz ]]; then
      tar -C "$RUNS" -cf "$BOX/runs/$name.tar" "$name"
    fi
  done
  tree
}

bytes() { xargs -0 -r du -cb -- | awk '$2 == "total" { sum += $1 } END { printf "%d\n", sum }'; }

tree() { # changes nothing
  local tracked box model
  tracked=$(git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [[ -e $file ]]; then printf '%s\0' "$file"; fi
  done | bytes)
  box=$(find "$BOX" -type f -print0 2>/dev/null | bytes)
  printf '%d MB of files that git does not ignore and %d MB of %s travel: %d MB of %d\n' \
    $((tracked / 1000000)) $((box / 1000000)) "$BOX" $(((tracked + box) / 1000000)) $((LIMIT / 1000000))
  if [[ $((tracked + box)) -le $LIMIT ]]; then return; fi
  echo "That is too much. No run begins from these: move them away for the call, and back after it."
  for model in models/*/; do
    if [[ $model != models/invertible-mk/ ]]; then printf '%6d kB  %s\n' "$(du -sk "$model" | cut -f1)" "${model%/}"; fi
  done | sort -rn
  echo "  mkdir -p out/aside && mv models/NAME... out/aside/    # out is ignored, and does not travel"
  echo "  mv out/aside/* models/ && git status --short models   # which must say nothing"
}

unpack() {
  mkdir -p "$RUNS"
  for first in "$1"/*.tar.aa; do
    if [[ ! -f $first ]]; then echo "gpu.sh: no run came back in $1: read the logs there" >&2 && exit 1; fi
    cat "${first%aa}"* | tar -C "$RUNS" -xf -
  done
  ls "$RUNS"
}

finished() { # FOLDER of a run
  [[ -f $1/checkpoint.npz ]] && "$PYTHON" - "$1" <<'PYTHON'
import json, sys, numpy
numbers = json.loads(str(numpy.load(sys.argv[1] + "/checkpoint.npz")["numbers"]))
sys.exit(numbers["seconds"] < numbers["budget"])
PYTHON
}

done_already() { # NAME
  [[ -f $BOX/runs/$1.done ]] || finished "$WORK/$1"
}

train() { # NAME, until the call ends
  local folder=$WORK/$1 left=$((end - SECONDS)) setting
  if [[ -f $folder/checkpoint.npz ]]; then
    "$PYTHON" -m trainer resume "$folder" --data "$BOX/photographs" --stop-after "$left" --threads "$THREADS"
  else
    local arguments
    arguments=$(recipe "$1")
    for setting in $SETTINGS; do arguments+=" --set $setting"; done
    # shellcheck disable=SC2086 # the words of a recipe have no spaces
    "$PYTHON" -m trainer train $arguments --data "$BOX/photographs" --out "$folder" --stop-after "$left" --threads "$THREADS"
  fi
}

lane() { # NAME,NAME...
  local name
  for name in ${1//,/ }; do
    done_already "$name" || train "$name" >"$WORK/$name.log" 2>&1 || true
    finished "$WORK/$name" || break
  done
}

measure() { # a method without keys has a run for each of two users
  local name data=()
  for folder in "$BOX"/eval/*/; do data+=(--data "$(basename "$folder")=$folder"); done
  for name in invertible-rk invertible-mk pusnet-mk table1-pusnet table1-{hidden,baluja,udh,hinet}-1; do
    local runs=("$WORK/$name")
    if [[ $name == table1-*-1 ]]; then runs+=("$WORK/${name%-1}-2"); fi
    if finished "${runs[0]}" && finished "${runs[-1]}"; then
      echo "$name"
      "$PYTHON" -m trainer evaluate "${runs[@]}" "${data[@]}" --sides 256 512
    fi
  done | tee "$OUT/quality.txt"
}

case ${1:-} in
  pack | tree) "$1"; exit ;;
  unpack) unpack "$2"; exit ;;
  measure) mkdir -p "$OUT" && measure; exit ;;
esac

end=$((SECONDS + CALL))
mkdir -p "$WORK" "$OUT"
for archive in "$BOX"/runs/*.tar; do
  if [[ -f $archive && ! -d $WORK/$(basename "$archive" .tar) ]]; then tar -C "$WORK" -xf "$archive"; fi
done
lanes=("$@")
if [[ $# -eq 0 ]]; then
  for stage in "${stages[@]}"; do
    lanes=()
    for lane in $stage; do done_already "${lane##*,}" || lanes+=("$lane"); done
    if [[ ${#lanes[@]} -gt 0 ]]; then break; fi
  done
fi
if [[ ${#lanes[@]} -eq 0 ]]; then echo "every run is done" && exit; fi
echo "training ${lanes[*]} for $CALL s"
for lane in "${lanes[@]}"; do lane "$lane" & done
wait || true
for lane in "${lanes[@]}"; do
  for name in ${lane//,/ }; do
    if [[ -f $WORK/$name.log ]]; then tail -n 4 "$WORK/$name.log"; fi
    if [[ -f $WORK/$name/checkpoint.npz ]]; then
      tar -C "$WORK" -cf - "$name" | split -b "$PIECE" - "$OUT/$name.tar."
    elif [[ -f $WORK/$name.log ]]; then
      cp "$WORK/$name.log" "$OUT/"
    fi
  done
done
