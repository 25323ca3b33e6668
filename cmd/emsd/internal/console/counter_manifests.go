package console

import (
	"net/http"
	"strconv"

	"emsd/courier"
	"emsd/courier/sheet"
	"emsd/courier/staff"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

func (c *Console) manifestPages() []page {
	return []page{
		at("GET /console/counter/manifests", staff.Manifest, c.manifests),
		at("POST /console/counter/manifests", staff.Manifest, c.manifestOpen),
		at("GET /console/counter/manifests/{id}", staff.Manifest, c.manifest),
		at("POST /console/counter/manifests/{id}", staff.Manifest, c.manifestScan),
		at("POST /console/counter/manifests/{id}/remove", staff.Manifest, c.manifestRemove),
		at("POST /console/counter/manifests/{id}/close", staff.Manifest, c.manifestClose),
		at("GET /console/counter/manifests/{id}/manifest.pdf", staff.Manifest, c.manifestPrint),
	}
}

// A manifestsPage lists the last manifests, and the stations that one may be opened for.
type manifestsPage struct {
	Manifests []courier.Manifest
	Stations  []courier.Station // empty for a person of one station
}

const recentManifests = 50

func (c *Console) manifests(v *visit) error {
	list, err := c.Service.Manifests(v.Context(), recentManifests)
	if err != nil {
		return err
	}
	p := manifestsPage{Manifests: list}
	if v.User().Station == "" {
		if p.Stations, err = c.Service.Stations(v.Context()); err != nil {
			return err
		}
	}
	return v.render("counter_manifests", p)
}

func (c *Console) manifestOpen(v *visit) error {
	station := v.User().Station
	if station == "" {
		station = v.form("station")
	}
	m, err := c.Service.OpenManifest(v.Context(), station, v.User().Actor())
	if err != nil {
		return err
	}
	return v.redirect(manifestPath(m.ID), "")
}

func manifestPath(id uuid.UUID) string { return "/console/counter/manifests/" + id.String() }

// A manifestPage is one list, and what came of the last scan for it.
type manifestPage struct {
	courier.Manifest
	Added  *courier.Added
	Words  packWords // for Added
	Faults courier.Faults
	Count  string // as filled in, when the closing was refused
	Name   string
}

// Good reports whether the last scan put the envelope on this list, now or before.
func (p manifestPage) Good() bool {
	return p.Added != nil && (p.Added.Outcome == courier.AddAdded || p.Added.Outcome == courier.AddOnThis)
}

var addOutcomes = map[courier.AddOutcome]packWords{
	courier.AddAdded:                               {"已列入", "请放入本次交寄的一叠。"},
	courier.AddOnThis:                              {"已在清单上", "这一件先前已扫过。"},
	courier.AddOnAnother:                           {"已在另一张清单上", "一件只能列入一张清单。请核对后从另一张清单移除，或留给另一张清单。"},
	courier.AddNotPacked:                           {"尚未装封核对", "请先到“装封核对”扫描证件和面单，相符后再列入。"},
	courier.AddOtherStation:                        {"不是本受理点的邮件", "请交还办理的受理点。"},
	courier.AddOutcome(courier.HandOverUnknown):    {"查无此面单", "没有这个运单号。请重新扫描；仍然查不到的，不要交寄。"},
	courier.AddOutcome(courier.HandOverAlready):    {"已经交寄", "这一件已登记交寄，请核对是否重复的信封。"},
	courier.AddOutcome(courier.HandOverNotOrdered): {"现在不能交寄", "EMS 尚未确认订单，或该件不再寄出。"},
	courier.AddOutcome(courier.HandOverStopped):    {"正在取消或改址", "信封不能离开，请放到一边等待处理。"},
	courier.AddOutcome(courier.HandOverMismatch):   {"核对不符，停下", "这个信封装封核对不符，须两个人处理后方可交寄。"},
	courier.AddOutcome(courier.HandOverTooEarly):   {"时间不对", "请核对电脑时间。"},
}

func (c *Console) manifest(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return c.manifestWith(v, http.StatusOK, id, manifestPage{})
}

func (c *Console) manifestWith(v *visit, status int, id uuid.UUID, p manifestPage) error {
	var err error
	if p.Manifest, err = c.Service.Manifest(v.Context(), id); err != nil {
		return err
	}
	if p.Added != nil {
		p.Words = addOutcomes[p.Added.Outcome]
	}
	return v.renderAs(status, "counter_manifest", p)
}

// manifestScan puts one scanned envelope on the list; scanning it again changes nothing.
func (c *Console) manifestScan(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	added, err := c.Service.AddToManifest(v.Context(), id, v.form("scan"), v.User().Actor())
	if faults, ok := asFaults(err); ok {
		return c.manifestWith(v, http.StatusUnprocessableEntity, id, manifestPage{Faults: faults})
	}
	if err != nil {
		return err
	}
	return c.manifestWith(v, http.StatusOK, id, manifestPage{Added: &added})
}

func (c *Console) manifestRemove(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	delivery, err := uuid.Parse(v.form("delivery"))
	if err != nil {
		return courier.ErrNotFound
	}
	if err := c.Service.RemoveFromManifest(v.Context(), id, delivery, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect(manifestPath(id), "removed")
}

func (c *Console) manifestClose(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(v.form("count"))
	if err != nil {
		count = 0
	}
	_, err = c.Service.CloseManifest(v.Context(), id, courier.ManifestClosing{Count: count, Courier: vault.Conceal(v.form("courier"))}, v.User().Actor())
	if faults, ok := asFaults(err); ok {
		return c.manifestWith(v, http.StatusUnprocessableEntity, id, manifestPage{Faults: faults, Count: v.form("count"), Name: v.form("courier")})
	}
	if err != nil {
		return err
	}
	return v.redirect(manifestPath(id), "manifest_closed")
}

func (c *Console) manifestPrint(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	m, err := c.Service.Manifest(v.Context(), id)
	if err != nil {
		return err
	}
	out := sheet.Manifest{Number: m.Number, Station: m.Station, Day: m.Day, Courier: m.Courier.Reveal()}
	if out.Clerk, err = c.fullName(v, m.ClosedBy); err != nil {
		return err
	}
	if m.Closed() {
		out.ClosedAt = m.ClosedAt.In(beijing)
	}
	for _, it := range m.Items {
		out.Lines = append(out.Lines, sheet.ManifestLine{WaybillNo: it.WaybillNo, OrderNo: it.OrderNo, Place: place(it.Province, it.City, it.County),
			Collect: it.PaymentMethod == courier.Collect})
	}
	pdf, err := c.Press.Manifest(out)
	if err != nil {
		return err
	}
	return v.document("manifest-"+m.Number+".pdf", pdf)
}

// fullName is how a colleague signs on paper; who is no user is named as on the pages.
func (c *Console) fullName(v *visit, by string) (string, error) {
	users, err := c.Staff.Users(v.Context())
	if err != nil {
		return "", err
	}
	for _, u := range users {
		if u.Actor() == by {
			return u.FullName, nil
		}
	}
	return actor(by), nil
}

// place writes a destination down to the county; a municipality is named once.
func place(province, city, county string) string {
	if city == province {
		city = ""
	}
	return province + city + county
}
