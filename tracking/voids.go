package tracking

import "time"

// skew is how far the clocks of organisations and devices may disagree: a courier's device stamps the delivery, the
// branch's office the void. A void finds its target up to so long after it when no earlier one stands.
const skew = 5 * time.Minute

// matchVoids gives each scan the voiding scan that takes it back, and each voiding scan what it takes back. A voiding
// scan takes the most recent earlier scan of the codes it names that still stands, that of its own organisation before
// any other: each takes one, and none is taken twice.
func matchVoids(line []entry) {
	var o openScans
	idle := 0
	for i := range line {
		if line[i].group == Void {
			idle++
		}
	}
	if idle == 0 {
		return
	}
	for i := range line {
		if line[i].group != Void {
			o.add(line, i)
			continue
		}
		if t := o.latest(line, &line[i]); t >= 0 {
			line[i].target, line[t].voidedBy = t, i
			idle--
		}
	}
	if idle > 0 {
		matchSkewed(line)
	}
}

// openScans are the scans so far, the latest on top.
type openScans struct {
	byCode map[string][]int
	byOrg  map[[2]string][]int
}

func (o *openScans) add(line []entry, i int) {
	if o.byCode == nil {
		o.byCode, o.byOrg = map[string][]int{}, map[[2]string][]int{}
	}
	key := [2]string{line[i].Code, line[i].OrgCode}
	o.byCode[key[0]] = append(o.byCode[key[0]], i)
	o.byOrg[key] = append(o.byOrg[key], i)
}

func (o *openScans) latest(line []entry, void *entry) int {
	own, any := -1, -1
	for _, code := range void.voids {
		own = max(own, top(line, o.byOrg, [2]string{code, void.OrgCode}))
		any = max(any, top(line, o.byCode, code))
	}
	if own >= 0 {
		return own
	}
	return any
}

// top is the latest scan of a stack that is not taken back; -1 is none.
func top[K comparable](line []entry, stacks map[K][]int, key K) int {
	stack := stacks[key]
	for len(stack) > 0 && line[stack[len(stack)-1]].voidedBy >= 0 {
		stack = stack[:len(stack)-1]
	}
	if stacks[key] != nil {
		stacks[key] = stack
	}
	if len(stack) == 0 {
		return -1
	}
	return stack[len(stack)-1]
}

// matchSkewed gives voiding scans that found nothing the nearest scan shortly after them. One that only repeats another
// is left out: EMS takes a delivery back and records the right one within minutes, and a repeated void would take that.
func matchSkewed(line []entry) {
	for i := range line {
		v := &line[i]
		if v.group != Void || v.target >= 0 || repeats(line, i) {
			continue
		}
		for j := i + 1; j < len(line) && line[j].At.Sub(v.At) <= skew; j++ {
			if line[j].voidedBy < 0 && names(v, line[j].Code) {
				v.target, line[j].voidedBy = j, i
				break
			}
		}
	}
}

func names(void *entry, code string) bool {
	for _, v := range void.voids {
		if v == code {
			return true
		}
	}
	return false
}

// repeats reports whether another void of the same code, close to this one, has its target.
func repeats(line []entry, i int) bool {
	near := func(j int) bool { return line[j].At.Sub(line[i].At).Abs() <= skew }
	for j := i - 1; j >= 0 && near(j); j-- {
		if line[j].Code == line[i].Code && line[j].target >= 0 {
			return true
		}
	}
	for j := i + 1; j < len(line) && near(j); j++ {
		if line[j].Code == line[i].Code && line[j].target >= 0 {
			return true
		}
	}
	return false
}
