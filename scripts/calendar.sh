#!/usr/bin/env bash
# Makes tracking/calendar/days.txt from the npm package chinese-days: run it each December, when the State Council has
# published the next year's holidays and the package has taken them up. Needs npm and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent chinese-days >/dev/null && tar xzf chinese-days-*.tgz)
python3 - "$work/package" >"$work/days.txt" <<'PY'
import datetime, glob, json, os, sys
package = sys.argv[1]
version = json.load(open(package + "/package.json"))["version"]
print("# Days on which Beijing works or rests against the week: + a Saturday or Sunday that is worked (make-up day, 调休), - a weekday that is free.")
print(f"# Source: npm chinese-days {version} (MIT, Copyright (c) 2024 Yawei Sun), from the State Council's yearly notices. scripts/calendar.sh makes it.")
for path in sorted(glob.glob(package + "/dist/years/[0-9]*.json")):
    year = int(os.path.basename(path)[:4])
    if year < 2017:
        continue
    table, days, day = json.load(open(path)), [], datetime.date(year, 1, 1)
    while day.year == year:
        key, weekday = day.isoformat(), day.weekday() < 5
        if key in table["workdays"] and not weekday:
            days.append("+" + key[5:])
        elif key in table["holidays"] and key not in table["workdays"] and weekday:
            days.append("-" + key[5:])
        day += datetime.timedelta(1)
    print(year, *days)
PY
mv "$work/days.txt" tracking/calendar/days.txt
tail -n 1 tracking/calendar/days.txt
