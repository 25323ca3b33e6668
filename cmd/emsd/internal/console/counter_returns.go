package console

import (
	"errors"
	"net/http"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

func (c *Console) returnPages() []page {
	return []page{
		at("GET /console/counter/returns", staff.Returns, c.returns),
		at("POST /console/counter/returns", staff.Returns, c.returnScan),
		at("GET /console/counter/returns/{id}", staff.Returns, c.returnShow),
		at("POST /console/counter/returns/{id}/move", staff.Returns, c.returnMove),
		at("POST /console/counter/returns/{id}/pick-up", staff.Returns, c.returnPickUp),
		at("POST /console/counter/returns/{id}/dispose", staff.Returns, c.returnDispose),
	}
}

// A returnsPage is what lies on the shelf, and what came of the last scan.
type returnsPage struct {
	Returns []courier.Return
	Next    string
	Overdue bool
	Shelf   string // kept from scan to scan
	Scanned *courier.View
	Wrong   string // why the last scan was refused
	Faults  courier.Faults
}

func (c *Console) returns(v *visit) error { return c.returnsWith(v, http.StatusOK, returnsPage{}) }

func (c *Console) returnsWith(v *visit, status int, p returnsPage) error {
	query := v.r.URL.Query()
	p.Overdue = query.Get("overdue") == "1"
	list, err := c.Service.Returns(v.Context(), courier.ReturnFilter{OnShelf: true, Overdue: p.Overdue, Cursor: query.Get("cursor")})
	if err != nil {
		return err
	}
	p.Returns, p.Next = list.Returns, list.Next
	return v.renderAs(status, "counter_returns", p)
}

// returnScan takes in one envelope; scanning it again finds it on its shelf.
func (c *Console) returnScan(v *visit) error {
	p := returnsPage{Shelf: v.form("shelf")}
	view, err := c.Service.ReceiveReturn(v.Context(), v.form("scan"), p.Shelf, v.User().Actor())
	conflict, isConflict := errors.AsType[*courier.Conflict](err)
	faults, isFaults := asFaults(err)
	switch {
	case isFaults:
		p.Faults = faults
		return c.returnsWith(v, http.StatusUnprocessableEntity, p)
	case isConflict:
		p.Wrong = conflict.Detail
		return c.returnsWith(v, http.StatusConflict, p)
	case errors.Is(err, courier.ErrNotFound):
		p.Wrong = "本受理点没有这个运单号的邮件：请核对条码；不是居住证寄递的邮件请退还邮政。"
		return c.returnsWith(v, http.StatusNotFound, p)
	case err != nil:
		return err
	}
	p.Scanned = &view
	return c.returnsWith(v, http.StatusOK, p)
}

// A returnPage is one envelope that came back.
type returnPage struct {
	courier.View
	Until  bool // its last day is over, so that it may be sent back
	Lost   bool // the permit was once declared lost
	Faults courier.Faults
}

func (c *Console) returnShow(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return c.returnWith(v, http.StatusOK, id, nil)
}

func (c *Console) returnWith(v *visit, status int, id uuid.UUID, faults courier.Faults) error {
	view, err := c.Service.Get(v.Context(), id)
	if err != nil {
		return err
	}
	if view.Return == nil {
		return courier.ErrNotFound
	}
	today := c.Clock.Now().In(beijing).Format("2006-01-02")
	p := returnPage{View: view, Until: today > view.Return.RetainUntil.Format("2006-01-02"), Faults: faults}
	for _, k := range view.Cases {
		p.Lost = p.Lost || k.Kind == courier.CaseLost
	}
	return v.renderAs(status, "counter_return", p)
}

func (c *Console) returnMove(v *visit) error {
	return c.returnDo(v, "return_moved", func(id uuid.UUID) error {
		_, err := c.Service.MoveReturn(v.Context(), id, v.form("shelf"), v.User().Actor())
		return err
	})
}

func (c *Console) returnPickUp(v *visit) error {
	return c.returnDo(v, "return_picked_up", func(id uuid.UUID) error {
		_, err := c.Service.PickUp(v.Context(), id, courier.PickUp{Who: v.form("who"), IDDocument: v.form("id_document"),
			AgentName: vault.Conceal(v.form("agent_name")), PermitValid: v.form("permit_valid") == "1"}, v.User().Actor())
		return err
	})
}

func (c *Console) returnDispose(v *visit) error {
	return c.returnDo(v, "return_disposed", func(id uuid.UUID) error {
		reason, err := v.reason()
		if err == nil {
			_, err = c.Service.Dispose(v.Context(), id, v.form("how"), reason, v.User().Actor())
		}
		return err
	})
}

func (c *Console) returnDo(v *visit, notice string, do func(id uuid.UUID) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	err = do(id)
	if faults, ok := asFaults(err); ok {
		return c.returnWith(v, http.StatusUnprocessableEntity, id, faults)
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/counter/returns/"+id.String(), notice)
}

func asFaults(err error) (courier.Faults, bool) { return errors.AsType[courier.Faults](err) }
