package courier

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StationColumns and TariffColumns are the headings of their import files.
var (
	StationColumns = []string{"code", "name", "kind", "operated_by", "sender_name", "phone", "province", "city", "county", "address", "hours"}
	TariffColumns  = []string{"zone", "provinces", "valid_from", "valid_to", "first_weight_g", "first_fen", "step_weight_g", "step_fen"}
)

// SaveStations checks rows of an import and stores the good ones, new or changed; with dryRun it only checks. The
// result has the faults of each row, in order.
func (s *Service) SaveStations(ctx context.Context, rows []map[string]string, dryRun bool) ([]Faults, error) {
	faults := make([]Faults, len(rows))
	var good []Station
	for i, r := range rows {
		st := stationFrom(r)
		if faults[i] = st.check(); len(faults[i]) == 0 {
			good = append(good, st)
		}
	}
	if dryRun || len(good) == 0 {
		return faults, nil
	}
	return faults, saveStations(ctx, s.db, lastOf(good, func(st Station) string { return st.Code }), s.clock.Now())
}

func stationFrom(r map[string]string) Station {
	return Station{Code: r["code"], Name: r["name"], Kind: r["kind"], OperatedBy: r["operated_by"], SenderName: r["sender_name"],
		Phone: r["phone"], Province: r["province"], City: r["city"], County: r["county"], Address: r["address"], Hours: r["hours"]}
}

func (st Station) check() Faults {
	var c checker
	c.number("code", st.Code, "受理点编码")
	if st.Name == "" {
		c.add("name", "required", "请填写名称")
	}
	c.oneOf("kind", st.Kind, []string{KindPoliceStation, KindRegistrationStation, KindBookedWindow})
	if st.OperatedBy != "" {
		c.oneOf("operated_by", st.OperatedBy, []string{ClassPoliceStation, ClassRegistrationStation})
		if st.Kind != KindBookedWindow {
			c.add("operated_by", "unexpected", "只有网约受理窗口（booked_window）填写开办机构")
		}
	}
	if st.Hours != "" && !officeHours(st.Hours) {
		c.add("hours", "format", "办公时间应写作 09:00-12:00,13:30-17:00：从早到晚，每段先起后止")
	}
	if sender := []string{st.SenderName, st.Phone, st.Province, st.City, st.County, st.Address}; slices.ContainsFunc(sender, filled) && slices.Contains(sender, "") {
		c.add("sender_name", "incomplete", "寄件人资料须填写完整：sender_name、phone、province、city、county、address，或全部留空使用默认寄件人")
	}
	return c.faults
}

var hoursForm = regexp.MustCompile(`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`)

// officeHours reports whether text holds spans of a day in order, each before the next. Written alike, times of day
// compare as text.
func officeHours(text string) bool {
	last := ""
	for span := range strings.SplitSeq(text, ",") {
		from, to, _ := strings.Cut(span, "-")
		if !hoursForm.MatchString(span) || from < last || to <= from {
			return false
		}
		last = to
	}
	return true
}

func filled(s string) bool { return s != "" }

// SaveTariffs is SaveStations for tariffs. A row with the zone and first day of a stored one replaces it.
func (s *Service) SaveTariffs(ctx context.Context, rows []map[string]string, dryRun bool) ([]Faults, error) {
	faults := make([]Faults, len(rows))
	var good []Tariff
	for i, r := range rows {
		var t Tariff
		if t, faults[i] = tariffFrom(r); len(faults[i]) == 0 {
			good = append(good, t)
		}
	}
	if dryRun || len(good) == 0 {
		return faults, nil
	}
	return faults, saveTariffs(ctx, s.db, lastOf(good, func(t Tariff) string { return t.Zone + t.ValidFrom.String() }))
}

func tariffFrom(r map[string]string) (Tariff, Faults) {
	var c checker
	t := Tariff{Zone: r["zone"], Provinces: strings.Fields(r["provinces"])}
	if t.Zone == "" {
		c.add("zone", "required", "请填写资费区名称")
	}
	if len(t.Provinces) == 0 {
		c.add("provinces", "required", "请填写省级行政区全称，用空格分隔")
	}
	for _, p := range t.Provinces {
		if !slices.Contains(Provinces(), p) {
			c.add("provinces", "unknown", fmt.Sprintf("没有“%s”这个省级行政区，请填写全称，例如 北京市", p))
		}
	}
	t.ValidFrom = c.day("valid_from", r["valid_from"], true)
	t.ValidTo = c.day("valid_to", r["valid_to"], false)
	if !t.ValidTo.IsZero() && !t.ValidTo.After(t.ValidFrom) {
		c.add("valid_to", "range", "截止日期须晚于起始日期")
	}
	t.FirstWeightG, t.StepWeightG = int(c.amount("first_weight_g", r["first_weight_g"], 1)), int(c.amount("step_weight_g", r["step_weight_g"], 1))
	t.FirstFen, t.StepFen = c.amount("first_fen", r["first_fen"], 0), c.amount("step_fen", r["step_fen"], 0)
	return t, c.faults
}

// day reads a Beijing day.
func (c *checker) day(field, s string, required bool) time.Time {
	if s == "" {
		if required {
			c.add(field, "required", "请填写日期，例如 2026-01-01")
		}
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateOnly, s, beijing)
	if err != nil {
		c.add(field, "format", "日期应写作 2026-01-01")
	}
	return t
}

// amount reads a whole number of fen or grams.
func (c *checker) amount(field, s string, least int64) int64 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < least {
		c.add(field, "format", fmt.Sprintf("应为不小于%d的整数", least))
	}
	return n
}

// lastOf keeps the last of those with the same key: a statement may touch a row once.
func lastOf[T any](items []T, key func(T) string) []T {
	at := map[string]int{}
	var out []T
	for _, it := range items {
		if i, ok := at[key(it)]; ok {
			out[i] = it
			continue
		}
		at[key(it)] = len(out)
		out = append(out, it)
	}
	return out
}
