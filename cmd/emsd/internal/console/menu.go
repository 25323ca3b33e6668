package console

import (
	"strings"

	"emsd/courier/staff"
)

// A menuItem is one entry of the menu.
type menuItem struct {
	Path    string
	Name    string
	action  staff.Action
	Current bool
}

// menu lists the pages that are always at hand, in the order of a working day.
var menu = []menuItem{
	{Path: "/console/", Name: "今日", action: staff.ReadToday},
	{Path: "/console/queue", Name: "寄递队列", action: staff.ReadQueue},
	{Path: "/console/counter", Name: "柜台", action: staff.PackCheck},
	{Path: "/console/cases", Name: "事项", action: staff.ReadCases},
	{Path: "/console/fees", Name: "资费", action: staff.ReadBills},
	{Path: "/console/imports", Name: "导入", action: staff.Import},
	{Path: "/console/settings", Name: "设置", action: staff.ReadSettings},
	{Path: "/console/audit", Name: "审计", action: staff.ReadAudit},
}

// menuFor is the menu of what this person may see.
func menuFor(u staff.User, path string) []menuItem {
	var items []menuItem
	for _, m := range menu {
		if !u.May(m.action) {
			continue
		}
		m.Current = path == m.Path || m.Path != "/console/" && strings.HasPrefix(path, m.Path+"/")
		items = append(items, m)
	}
	return items
}
