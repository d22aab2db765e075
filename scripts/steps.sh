# To be sourced: shows that a long step lives, how long it took, and where its output is when it failed.
#
# At a terminal one line is written over and over; elsewhere a line appears at least every ten seconds. The commands' own
# output goes to a log in .cache/logs, which is kept.

readonly STEP_LOGS=$PWD/.cache/logs
# Seconds between two signs of life: at a terminal, and in a log.
readonly STEP_TERMINAL_PAUSE=1 STEP_LOG_PAUSE=8

# step TITLE NAME WAY_OUT COMMAND...    runs COMMAND with its output in .cache/logs/NAME.log
#
# While it runs, `step_progress_NAME LOG` says how far it is, where there is such a function, else the log's last line does.
# When it fails, the end of the log and WAY_OUT are shown, and the exit status is the command's.
step() {
  local title=$1 name=$2 way_out=$3 log=$STEP_LOGS/$2.log started=$SECONDS status=0 ticker
  shift 3
  mkdir -p "$STEP_LOGS"
  : > "$log"
  step_say "$title ..."
  step_tick "$title" "$name" "$log" &
  ticker=$!
  "$@" > "$log" 2>&1 < /dev/null || status=$?
  kill "$ticker" 2> /dev/null || true
  wait "$ticker" 2> /dev/null || true
  if [ "$status" -eq 0 ]; then
    step_say "$title: done in $((SECONDS - started)) s"
    return
  fi
  tail -25 "$log" >&2
  printf 'error: %s failed with status %d after %d s; its output is in %s\n' "$title" "$status" "$((SECONDS - started))" "${log#"$PWD"/}" >&2
  printf 'error: %s\n' "$way_out" >&2
  return "$status"
}

# Runs a command whose own output is shown, and says that it lives when it has been silent for a while.
step_heartbeat() { # command
  local log=$STEP_LOGS/$1.log started=$SECONDS status=0 ticker
  mkdir -p "$STEP_LOGS"
  : > "$log"
  (
    size=0
    while sleep "$STEP_LOG_PAUSE" && kill -0 "$$" 2> /dev/null; do
      [ "$(stat --format=%s "$log")" -ne "$size" ] || step_say "still at work after $((SECONDS - started)) s: $(tail -1 "$log" | sed 's/^ *//' | cut -c1-60)"
      size=$(stat --format=%s "$log")
    done
  ) &
  ticker=$!
  "$@" 2>&1 | tee "$log" >&2 || status=$?
  kill "$ticker" 2> /dev/null || true
  wait "$ticker" 2> /dev/null || true
  return "$status"
}

# Takes the lock of an open file, and says so when another holds it.
step_lock() { # file descriptor
  flock --nonblock "$1" && return
  step_say "waiting for another command that sets the same thing up"
  flock "$1"
}

# A line of its own, in place of the one that is written over.
step_say() {
  [ ! -t 2 ] || printf '\r\033[K' >&2
  printf 'setup: %s\n' "$1" >&2
}

step_tick() { # title, name, log
  local pause=$STEP_LOG_PAUSE started=$SECONDS text
  [ ! -t 2 ] || pause=$STEP_TERMINAL_PAUSE
  # Ends with the step, also when that is killed.
  while sleep "$pause" && kill -0 "$$" 2> /dev/null; do
    if declare -F "step_progress_$2" > /dev/null; then
      text=$("step_progress_$2" "$3")
    else
      text=$(tail -c 2000 "$3" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -1 | sed 's/^[[:space:]]*//' | cut -c1-60)
    fi
    text="$1: $((SECONDS - started)) s${text:+, $text}"
    if [ -t 2 ]; then printf '\r\033[Ksetup: %s' "$text" >&2; else printf 'setup: %s\n' "$text" >&2; fi
  done
}
