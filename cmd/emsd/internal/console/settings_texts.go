package console

import (
	"net/http"
	"regexp"
	"slices"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/notify"
)

// Texts is what the console knows of how messages go out.
type Texts struct {
	Gateways      []notify.Gateway
	Signatures    map[string]string // by gateway, without brackets
	Passwords     bool              // deliveries have a password, so the texts that tell one are in use
	Registrations *notify.Registrations
}

func (c *Console) textPages() []page {
	return []page{at("GET /console/settings/texts", staff.ReadSettings, c.texts)}
}

// textsPage shows every text as a resident reads it.
type textsPage struct {
	Sample   sampleForm
	Faults   courier.Faults
	Texts    []shownText
	Findings []notify.Finding // about signatures and carriers
	Asked    time.Time        // wall; zero: not yet
}

// A shownText is a text with what each gateway makes of it.
type shownText struct {
	notify.Previewed
	Fits []shownFit
}

// A shownFit is what a gateway makes of a text, and what is known of its template there.
type shownFit struct {
	notify.Fit
	Registered *notify.Finding // nil: not known
}

// A sampleForm is what texts are filled in with: nobody's values, and no name but one of two, so that none gets into an address.
type sampleForm struct {
	Longest bool // the name as long as it can be
	No      string
	Fee     string
	Day     string // empty: nobody said how long
}

var waybillForm = regexp.MustCompile(`^[0-9A-Z]{8,13}$`)

// sampleOf reads the sample, which is as usual where nothing is given.
func sampleOf(v *visit) (sampleForm, notify.Sample, courier.Faults) {
	usual := notify.Samples["usual"]
	form := sampleForm{v.form("name") == "longest", v.form("no"), v.form("fee"), v.form("day")}
	if len(v.r.URL.Query()) == 0 {
		form = sampleForm{false, usual.Facts.WaybillNo, "12", usual.Facts.LastDay.Format(time.DateOnly)}
	}
	s := usual
	if form.Longest {
		s.Name = notify.Samples["longest"].Name
	}
	var faults courier.Faults
	fen, ok := fenOf(form.Fee)
	if !ok || fen < 1 || fen > 9999_99 {
		faults = append(faults, courier.Fault{Field: "fee", Code: "range", Detail: "邮费应为0.01至9999.99元"})
	}
	if !waybillForm.MatchString(form.No) {
		faults = append(faults, courier.Fault{Field: "no", Code: "format", Detail: "邮件号应为8至13位数字或大写字母"})
	}
	day := beijingDay(form.Day)
	if form.Day != "" && day.IsZero() {
		faults = append(faults, courier.Fault{Field: "day", Code: "format", Detail: "领取截止日期应写作 2026-12-03"})
	}
	if len(faults) > 0 {
		return form, usual, faults
	}
	s.Facts.DueFen, s.Facts.WaybillNo, s.Facts.LastDay = fen, form.No, day
	return form, s, nil
}

// texts shows what is sent. Texts come with the build, for vendors approve them word for word.
func (c *Console) texts(v *visit) error {
	form, sample, faults := sampleOf(v)
	p := textsPage{Sample: form, Faults: faults}
	var found []notify.Finding
	found, p.Asked = c.Texts.Registrations.Last()
	for _, name := range notify.TextNames(notify.Languages[0], c.Texts.Passwords) {
		for _, language := range notify.Languages {
			preview, err := notify.Preview(c.Texts.Gateways, c.Texts.Signatures, name.In(language), sample)
			if err != nil {
				return err
			}
			p.Texts = append(p.Texts, showText(preview, found))
		}
	}
	p.Findings = slices.DeleteFunc(slices.Clone(found), func(f notify.Finding) bool { return f.Kind == "template" })
	status := http.StatusOK
	if len(faults) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return v.renderAs(status, "settings_texts", p)
}

func showText(p notify.Previewed, found []notify.Finding) shownText {
	t := shownText{Previewed: p}
	for _, f := range p.Fits {
		shown := shownFit{Fit: f}
		if n := slices.IndexFunc(found, func(x notify.Finding) bool {
			return x.Gateway == f.Gateway && x.Kind == "template" && x.Name == string(p.Text)
		}); n >= 0 {
			shown.Registered = &found[n]
		}
		t.Fits = append(t.Fits, shown)
	}
	return t
}

// textTitle names a text for clerks.
func textTitle(p notify.Previewed) string {
	if p.Language == courier.InEnglish {
		return p.Title + "（英文）"
	}
	return p.Title
}
