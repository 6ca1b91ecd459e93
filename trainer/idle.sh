#!/usr/bin/env bash
# Training in idle time: `make train-idle` and `make train-keep` call it.
#
#   trainer/idle.sh start    continues the run in the background, at the lowest priority, until it is stopped
#   trainer/idle.sh stop     stops it; its checkpoint is saved
#   trainer/idle.sh keep     stops it, measures, and commits its checkpoint and its model if they are better
#
# RUN names the run (default invertible-mk). trainer/runs/RUN is committed: weights, averages, the optimiser's state and the
# configuration, whose budget has no end, so the rate is constant. A start copies it to out/idle/RUN, unless there is a run
# already. `keep` ends a copy of the run in ANNEAL CPU seconds, in which the rate falls: that copy becomes models/RUN.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUN=${RUN:-invertible-mk}
ANNEAL=${ANNEAL:-300}
PHOTOGRAPHS=${PHOTOGRAPHS:-../shared/data/train}
DATA=${DATA:-../shared/data/eval}
PYTHON=${PYTHON:-.venv/bin/python}
IDLE=${IDLE:-out/idle}

kept=trainer/runs/$RUN
model=models/$RUN
work=$IDLE/$RUN
log=$IDLE/$RUN.log
pid=$IDLE/$RUN.pid
files=(checkpoint.npz config.toml run.jsonl metrics.csv validation.csv)

running() { [[ -f $pid ]] && ps -o args= -p "$(<"$pid")" | grep -qF "resume $work "; }

take() { # FROM TO: a run without its pictures
  mkdir -p "$2"
  for file in "${files[@]}"; do if [[ -f $1/$file ]]; then cp "$1/$file" "$2/"; fi; done
}

start() {
  if running; then echo "$RUN is training already, process $(<"$pid"): $log" && return; fi
  if [[ ! -f $work/checkpoint.npz ]]; then take "$kept" "$work"; fi
  OMP_NUM_THREADS=1 nohup setsid nice -n 19 "$PYTHON" -m trainer resume "$work" --data "$PHOTOGRAPHS" \
    --device cpu --threads 1 >>"$log" 2>&1 </dev/null &
  echo $! >"$pid"
  # Wait until the process is the trainer: before that a second start would not recognise it.
  until running || ! kill -0 "$!" 2>/dev/null; do sleep 0.05; done
  echo "training $RUN, process $!: $log. \`make train-keep RUN=$RUN\` stops it and commits it if it is better"
}

stop() {
  if running; then
    kill "$(<"$pid")"
    while running; do sleep 0.2; done # it ends after a step and the checkpoint
    echo "stopped $RUN: $(grep -o 'step [0-9]*, [0-9]* s.*' "$log" | tail -n 1)"
  fi
  rm -f "$pid"
}

better() { # NEW OLD
  local code=0
  "$PYTHON" -m trainer better "$1" "$2" --data "$PHOTOGRAPHS" || code=$?
  if [[ $code -ne 0 && $code -ne 3 ]]; then exit "$code"; fi
  return "$code"
}

keep() {
  stop
  if [[ ! -f $work/checkpoint.npz ]]; then echo "there is no run in $work: \`make train-idle RUN=$RUN\` starts it" >&2 && exit 1; fi
  local made=() annealed=$IDLE/$RUN-annealed
  if better "$work" "$kept"; then
    take "$work" "$kept"
    made+=("$kept")
  fi
  rm -rf "$annealed"
  take "$work" "$annealed"
  # The average follows the falling rate more closely.
  "$PYTHON" -m trainer resume "$annealed" --data "$PHOTOGRAPHS" --device cpu --threads 1 --anneal "$ANNEAL" \
    --set training.average=0.995 >>"$log" 2>&1
  if [[ ! -d $model ]] || better "$annealed" "$model"; then
    "$PYTHON" -m trainer export "$annealed" "$model" --sides 128 256 \
      --data "bsds=$DATA/bsds" --data "imagenet=$DATA/imagenet"
    made+=("$model")
    echo "$model is new: \`make measure\` fills its card, and README.md, docs/models.md, docs/results and docs/training.md have the old one's figures"
  fi
  if [[ ${#made[@]} -eq 0 ]]; then echo "nothing is kept: $work goes on from where it is" && return; fi
  git add -- "${made[@]}"
  git commit -q -m "models: $RUN after more training" -- "${made[@]}"
  git show --stat --oneline HEAD
}

case ${1:-} in
  start | stop | keep) "$1" ;;
  *) echo "trainer/idle.sh start, stop or keep" >&2 && exit 2 ;;
esac
