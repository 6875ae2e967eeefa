#!/bin/sh
# run.sh BUILD NAME SECONDS: one fuzzer from its seeds; what it finds new stays below BUILD, so the
# next run begins there. A crash is kept as BUILD/NAME-crash-…: mend it, and move it to the seeds.
set -eu
build=$1 name=$2 seconds=$3
found=$build/found/$name seeds=tests/fuzz/corpus/$name log=$build/$name.log
mkdir -p "$found" "$seeds"
if "$build/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/$name-" "$found" "$seeds" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$name: clean, $runs runs in $seconds s, $covered edges"
else
    echo "$name: FAILED, see $log"
    grep -m 5 -E 'ERROR|SUMMARY|runtime error|Test unit written' "$log" || tail -n 5 "$log"
    exit 255 # xargs stops
fi
