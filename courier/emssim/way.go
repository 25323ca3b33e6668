package emssim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// way builds a journey scan by scan; t is the time reached. All draws come from the order's own seed, and the way to
// the delivering branch draws the same for every outcome.
type way struct {
	o     *order
	rng   *rand.Rand
	t     time.Time
	scans []Scan
}

func newWay(o *order) *way {
	return &way{o: o, rng: rand.New(rand.NewPCG(o.number, 3)), t: o.leaves}
}

// after lets between lo and hi pass.
func (w *way) after(lo, hi time.Duration) {
	w.t = w.t.Add(lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))).Truncate(time.Second)
}

// daytime waits until Beijing's clock is between two hours; a time that is too late goes to the next day's first hour,
// at a minute of its own.
func (w *way) daytime(from, to int) {
	local := w.t.In(beijing)
	opens := time.Date(local.Year(), local.Month(), local.Day(), from, 0, 0, 0, beijing)
	minute := time.Duration(w.rng.IntN(60*60)) * time.Second
	switch {
	case local.Hour() < from:
		w.t = opens.Add(minute)
	case local.Hour() >= to:
		w.t = opens.AddDate(0, 0, 1).Add(minute)
	}
}

func (w *way) scan(code string, at org, by person, text string, args ...any) *Scan {
	w.scans = append(w.scans, Scan{
		At: w.t, Visible: w.t, OpCode: code, OpName: opNames[code], OpDesc: fmt.Sprintf(text, args...),
		Prov: at.prov, City: at.city, OrgCode: at.code, OrgName: at.name, OperatorNo: by.staffNo, OperatorName: by.name,
	})
	return &w.scans[len(w.scans)-1]
}

// travel goes the whole way.
func (w *way) travel(outcome Outcome) {
	from, to := w.o.from, w.o.to
	w.after(earliest, 4*time.Hour)
	w.daytime(handOverHour, 18)
	collector, home, first := newPerson(w.rng), branch(from), centre(from)
	w.scan(opAccept, home, collector, "【%s】已收寄,揽投员:%s,电话:%s", home.name, collector.name, collector.phone)
	if outcome == OutcomeSilent {
		return
	}
	w.after(time.Hour, 3*time.Hour)
	w.scan(opSend, home, collector, "离开【%s】,下一站【%s】", home.name, first.name)
	w.through(first, 40*time.Minute, 2*time.Hour)
	last := first
	if from.prov != to.prov {
		last = w.fly()
	} else if from.city != to.city {
		last = centre(to)
		w.through(last, 3*time.Hour, 8*time.Hour)
	}
	if outcome == OutcomeLost {
		w.vanish(last)
		return
	}
	w.after(time.Hour, 3*time.Hour)
	w.finish(outcome)
}

// through passes a processing centre.
func (w *way) through(at org, lo, hi time.Duration) {
	w.after(lo, hi)
	w.scan(opCentre, at, machine, "快件到达【%s】", at.name)
	w.after(30*time.Minute, 4*time.Hour)
	w.scan(opLeave, at, machine, "快件离开【%s】，正在发往下一站", at.name)
}

// fly takes the envelope to another province, and there to its city; it returns the last centre.
func (w *way) fly() org {
	from, to := hub(w.o.from), hub(w.o.to)
	w.after(4*time.Hour, 12*time.Hour)
	w.scan(opFly, from, machine, "快件已由【%s】起飞，发往【%s】", from.name, w.o.to.city)
	w.after(90*time.Minute, 4*time.Hour)
	w.scan(opLand, to, machine, "快件到达【%s】，准备发往【%s】", w.o.to.city, to.name)
	w.through(to, 40*time.Minute, 2*time.Hour)
	last := centre(w.o.to)
	w.through(last, 40*time.Minute, 5*time.Hour)
	return last
}

func (w *way) vanish(at org) {
	w.after(48*time.Hour, 60*time.Hour)
	w.scan(opOdd, at, machine, "快件在【%s】出现异常，正在核实", at.name)
	w.after(5*24*time.Hour, 6*24*time.Hour)
	w.daytime(9, 17)
	w.scan(opLost, at, machine, "邮件丢失，已向协议客户赔付")
}

// finish is the last mile, from the delivering branch on.
func (w *way) finish(outcome Outcome) {
	at := branch(w.o.to)
	switch outcome {
	case OutcomeSilent:
		return
	case OutcomeLost:
		w.vanish(at)
		return
	}
	w.scan(opBranch, at, machine, "快件到达【%s】", at.name)
	if outcome == OutcomeIntercepted {
		w.after(10*time.Minute, time.Hour)
		w.scan(opStop, at, machine, "F邮件拦截指令发布")
		w.after(10*time.Minute, time.Hour)
		w.scan(opStopped, at, machine, "订单拦截成功")
		w.sendBack(at)
		return
	}
	courier := newPerson(w.rng)
	w.takeOut(at, courier)
	switch outcome {
	case OutcomeFailedFirst:
		w.fail(at, courier, "1", "因收件人名址有误/不详/不在且电话无法接通，将再次联系收件人进行投递")
		w.after(12*time.Hour, 13*time.Hour)
		w.takeOut(at, courier)
		w.deliver(at, courier, "10", "本人")
	case OutcomeReturned:
		w.fail(at, courier, "7", "收件人拒收，邮件将退回寄件人")
		w.sendBack(at)
	case OutcomeLocker:
		w.knock()
		w.scan(opLocker, at, courier, "快件已到【%s示例小区包裹柜】，请凭取件码及时取件，如有疑问请电联快递员【%s，电话:%s】", w.o.to.county, courier.name, courier.phone)
		w.after(3*time.Hour, 16*time.Hour)
		w.daytime(7, 22)
		w.scan(opTaken, at, machine, "快件已从【%s示例小区包裹柜】取走", w.o.to.county)
	case OutcomeCounter:
		w.knock()
		w.scan(opCounter, at, courier, "快件已转【%s】窗口，请携带有效证件领取", at.name)
		w.after(14*time.Hour, 40*time.Hour)
		w.daytime(9, 17)
		w.scan(opDelivered, at, courier, "您的快件已签收【本人，，窗口领取】，如有疑问请电联【%s】，投诉请致电11183。", at.name).DeliverCode = "10"
	case OutcomeDoor:
		w.deliver(at, courier, "161", "家门口")
	case OutcomeAgent:
		w.deliver(at, courier, "20", "家人")
	case OutcomeFrontDesk:
		w.deliver(at, courier, "60", "收发室")
	default:
		w.deliver(at, courier, "10", "本人")
	}
}

// takeOut gives the envelope to the courier, in the morning or for the afternoon's round.
func (w *way) takeOut(at org, courier person) {
	w.after(5*time.Minute, time.Hour)
	w.daytime(8, 15)
	w.scan(opCourier, at, courier, "快件正在派送中，请耐心等待，保持电话畅通，准备签收，如有疑问请电联快递员【%s，电话:%s】，投诉请致电11183。", courier.name, courier.phone)
}

// knock is the courier's way to the door; couriers go home at eight in the evening.
func (w *way) knock() {
	w.after(40*time.Minute, 4*time.Hour+30*time.Minute)
}

func (w *way) deliver(at org, courier person, code, who string) {
	w.knock()
	signed := "已代签收"
	if code == "10" {
		signed = "已签收"
	}
	w.scan(opDelivered, at, courier, "您的快件%s【%s，，】，如有疑问请电联快递员【%s，电话:%s】，投诉请致电11183。",
		signed, who, courier.name, courier.phone).DeliverCode = code
}

func (w *way) fail(at org, courier person, code, why string) {
	w.knock()
	w.scan(opFailed, at, courier, "%s，如有疑问请电联快递员【%s，电话:%s】，投诉请致电11183。", why, courier.name, courier.phone).AttemptCode = code
}

// sendBack is the way home of what could not be delivered.
func (w *way) sendBack(at org) {
	home := branch(w.o.from)
	w.after(time.Hour, 5*time.Hour)
	w.daytime(9, 18)
	w.scan(opReturning, at, machine, "快件已办理退件登记，将退回寄件人")
	w.after(2*time.Hour, 5*time.Hour)
	w.scan(opSend, at, machine, "离开【%s】,下一站【%s】", at.name, centre(w.o.to).name)
	w.through(centre(w.o.from), 10*time.Hour, 30*time.Hour)
	w.after(2*time.Hour, 6*time.Hour)
	w.scan(opBranch, home, machine, "快件到达【%s】", home.name)
	courier := newPerson(w.rng)
	w.after(time.Hour, 3*time.Hour)
	w.daytime(9, 17)
	w.scan(opReturned, home, courier, "快件已退回寄件人，经办人【%s，电话:%s】", courier.name, courier.phone)
}
