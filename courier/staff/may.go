package staff

import "slices"

// A Role says what a person does, and so what the console lets this person do.
type Role string

// The roles.
const (
	Counter       Role = "counter"       // a clerk of one station, who sees that station only
	BackOffice    Role = "back_office"   // clerks who work through what goes wrong, for every station
	Supervisor    Role = "supervisor"    // confirms what two persons must agree on
	Administrator Role = "administrator" // settings, users, tokens; no confirmations, so that one person cannot be both
	Auditor       Role = "auditor"       // reads everything masked, and the audit; writes nothing
)

// Roles lists every role, as pages list them.
var Roles = []Role{Counter, BackOffice, Supervisor, Administrator, Auditor}

func (r Role) known() bool { return slices.Contains(Roles, r) }

// An Action is something that a page lets people do.
type Action string

// The actions.
const (
	ReadToday    Action = "today.read"
	ReadQueue    Action = "queue.read"
	ReadDelivery Action = "delivery.read"
	ReadCases    Action = "cases.read"
	ReadSettings Action = "settings.read"
	ReadAudit    Action = "audit.read"

	SearchPerson Action = "person.search"    // by phone or ID number
	Export       Action = "queue.export"     // masked
	ExportClear  Action = "queue.export_raw" // unmasked, with a reason
	Unmask       Action = "delivery.unmask"  // one delivery, with a reason, for some minutes

	Cancel      Action = "delivery.cancel"
	Retry       Action = "delivery.retry"
	Address     Action = "delivery.address"
	HandOver    Action = "delivery.handover"
	Pay         Action = "delivery.pay"    // money that came in over the counter
	Refund      Action = "delivery.refund" // money that went back
	NotReceived Action = "delivery.not_received"
	Intervene   Action = "delivery.intervene"
	Redispatch  Action = "delivery.redispatch"
	AskEMS      Action = "delivery.ask_ems"
	Propose     Action = "proposal.make"    // a manual outcome, a mismatch: a second person confirms it
	Confirm     Action = "proposal.confirm" // or reject; never one's own

	PackCheck Action = "counter.pack"
	Label     Action = "counter.label"
	Manifest  Action = "counter.manifest"
	Returns   Action = "counter.returns"

	WorkCases Action = "cases.work" // take, hand over, close
	ReadBills Action = "bills.read"
	Bills     Action = "bills.import"
	Import    Action = "permits.import"

	WriteSettings Action = "settings.write" // stations, tariffs, policies, templates, holidays
	ManageUsers   Action = "users.manage"
	ManageTokens  Action = "tokens.manage"
	ManageHooks   Action = "webhooks.manage"
	DoNotSend     Action = "do_not_send.write"
	VerifyAudit   Action = "audit.verify"
)

// allowed is the one table of who may do what; what it does not name, nobody may. Which objects a counter clerk may do
// it to is told by the station.
var allowed = map[Action][]Role{
	ReadToday:    {Counter, BackOffice, Supervisor, Administrator, Auditor},
	ReadQueue:    {Counter, BackOffice, Supervisor, Administrator, Auditor},
	ReadDelivery: {Counter, BackOffice, Supervisor, Administrator, Auditor},
	ReadCases:    {Counter, BackOffice, Supervisor, Administrator, Auditor},
	ReadSettings: {BackOffice, Supervisor, Administrator, Auditor},
	ReadAudit:    {Administrator, Auditor},

	SearchPerson: {Counter, BackOffice, Supervisor},
	Export:       {Counter, BackOffice, Supervisor, Administrator, Auditor},
	ExportClear:  {Supervisor},
	Unmask:       {Counter, BackOffice, Supervisor},

	Cancel:      {Counter, BackOffice, Supervisor},
	Retry:       {BackOffice, Supervisor},
	Address:     {Counter, BackOffice, Supervisor},
	HandOver:    {Counter, BackOffice, Supervisor},
	Pay:         {Counter, BackOffice, Supervisor},
	Refund:      {BackOffice, Supervisor},
	NotReceived: {Counter, BackOffice, Supervisor},
	Intervene:   {BackOffice, Supervisor},
	Redispatch:  {Counter, BackOffice, Supervisor},
	AskEMS:      {Counter, BackOffice, Supervisor, Administrator},
	Propose:     {Counter, BackOffice, Supervisor},
	Confirm:     {Supervisor},

	PackCheck: {Counter, BackOffice, Supervisor},
	Label:     {Counter, BackOffice, Supervisor},
	Manifest:  {Counter, BackOffice, Supervisor},
	Returns:   {Counter, BackOffice, Supervisor},

	WorkCases: {Counter, BackOffice, Supervisor},
	ReadBills: {BackOffice, Supervisor, Administrator, Auditor},
	Bills:     {BackOffice, Supervisor},
	Import:    {Counter, BackOffice, Supervisor, Administrator}, // administrators: stations and tariffs; all others: permits

	WriteSettings: {Administrator},
	ManageUsers:   {Administrator},
	ManageTokens:  {Administrator},
	ManageHooks:   {Administrator},
	DoNotSend:     {BackOffice, Supervisor, Administrator},
	VerifyAudit:   {Administrator, Auditor},
}

// May says whether a role may do something.
func May(r Role, a Action) bool { return slices.Contains(allowed[a], r) }

// May says whether this person may do something.
func (u User) May(a Action) bool { return May(u.Role, a) }
