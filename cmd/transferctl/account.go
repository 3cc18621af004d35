package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/cli"
)

func (a *app) accountCommand() *cobra.Command {
	return group("account", "Show the account of an endpoint", "  transferctl account show zrh:", a.accountShow())
}

// accountReport is all that the endpoint says about the account. Parts that it does not have are
// nil.
type accountReport struct {
	Endpoint      string             `json:"endpoint"`
	Profile       profileRow         `json:"profile"`
	Balance       *moneyRow          `json:"balance,omitempty"`
	Usage         *usageRow          `json:"usage,omitempty"`
	Subscriptions *[]subscriptionRow `json:"subscriptions,omitempty"`
	Missing       []string           `json:"missing"` // parts for which the endpoint has no call
}

type profileRow struct {
	UUID      string `json:"uuid,omitempty"`
	Email     string `json:"email"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	NickName  string `json:"nick_name"`
	Company   string `json:"company,omitempty"`
	Country   string `json:"country,omitempty"`
	Currency  string `json:"currency,omitempty"`
	Language  string `json:"language,omitempty"`
	Type      string `json:"type,omitempty"`
}

// moneyRow is an exact amount: a string, because numbers of JSON are often read as floats.
type moneyRow struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// usageRow is what the account uses, in the units of the endpoint.
type usageRow struct {
	CPU      amountsRow `json:"cpu"`
	Mem      amountsRow `json:"mem"`
	Disk     amountsRow `json:"disk"`
	Transfer amountsRow `json:"transfer"`
}

// amountsRow is exact decimal numbers; empty: the endpoint does not say.
type amountsRow struct {
	Used       string `json:"used,omitempty"`
	Burst      string `json:"burst,omitempty"`
	Subscribed string `json:"subscribed,omitempty"`
	Limit      string `json:"limit,omitempty"` // the most that the account may use
}

type subscriptionRow struct {
	Subscription string     `json:"subscription,omitempty"` // UUID
	Type         string     `json:"type"`
	Name         string     `json:"name,omitempty"`     // of the type
	Resource     string     `json:"resource,omitempty"` // the address or the VLAN
	Quantity     string     `json:"quantity,omitempty"` // exact
	Unit         string     `json:"unit,omitempty"`
	StartsAt     *time.Time `json:"starts_at,omitempty"`
	EndsAt       *time.Time `json:"ends_at,omitempty"`
	Months       int64      `json:"months,omitempty"`
}

func (a *app) accountShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show [ENDPOINT:]",
		Short: "Show profile, balance, usage and subscriptions of the account",
		Long: `Show profile, balance, usage and subscriptions of the account. Amounts are exact, and usage is in the
units of the endpoint. What the endpoint has no call for is left out, with a note.`,
		Example: `  transferctl account show zrh:
  transferctl account show zrh: -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.operands(a.endpointOperand),
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := a.onlyEndpoint(strings.Join(args, ""), "write account show ENDPOINT: with one of: ")
			if err != nil {
				return err
			}
			c, err := a.wholeEndpoint(cmd.Context(), address)
			if err != nil {
				return err
			}
			report, err := a.account(cmd.Context(), c)
			if err != nil {
				return err
			}
			report.Endpoint = strings.TrimSuffix(address, ":")
			if err := a.print(report, report.write); err != nil {
				return err
			}
			for _, part := range report.Missing {
				fmt.Fprintf(a.stderr, "note: %s has no call for the %s\n", report.Endpoint, part)
			}
			return nil
		},
	}
}

// account reads all parts of the report.
func (a *app) account(ctx context.Context, c *api.Client) (r accountReport, err error) {
	profile, err := retried(ctx, a, c.Profile)
	if err != nil {
		return r, err
	}
	r.Profile, r.Missing = newProfileRow(&profile), []string{}
	balance, known, err := part(ctx, a, &r, "balance", c.Balance)
	if err != nil {
		return r, err
	}
	if known {
		balance.Currency = cmp.Or(balance.Currency, profile.Currency)
		r.Balance = newMoneyRow(balance)
	}
	usage, known, err := part(ctx, a, &r, "usage", c.Usage)
	if err != nil {
		return r, err
	}
	if known {
		r.Usage = newUsageRow(&usage)
	}
	subscriptions, known, err := part(ctx, a, &r, "subscriptions", c.Subscriptions)
	if err != nil {
		return r, err
	}
	if known {
		rows := make([]subscriptionRow, len(subscriptions))
		for i := range subscriptions {
			rows[i] = newSubscriptionRow(&subscriptions[i])
		}
		r.Subscriptions = &rows
	}
	return r, nil
}

// part reads a part of the report. known is false if the endpoint has no call for it.
func part[T any](
	ctx context.Context, a *app, r *accountReport, name string, call func(context.Context) (T, error),
) (value T, known bool, err error) {
	value, err = retried(ctx, a, call)
	if errors.Is(err, api.ErrUnsupported) {
		r.Missing = append(r.Missing, name)
		return value, false, nil
	}
	return value, err == nil, err
}

func newProfileRow(p *api.Profile) profileRow {
	return profileRow{
		UUID: p.UUID, Email: p.Email, FirstName: p.FirstName, LastName: p.LastName, NickName: p.NickName,
		Company: p.Company, Country: p.Country, Currency: p.Currency, Language: p.Language, Type: p.Type,
	}
}

func newMoneyRow(m api.Money) *moneyRow {
	amount, _, _ := strings.Cut(m.String(), " ")
	return &moneyRow{Amount: amount, Currency: m.Currency}
}

// String is the amount with its currency.
func (m *moneyRow) String() string { return strings.TrimSpace(m.Amount + " " + m.Currency) }

func newUsageRow(u *api.Usage) *usageRow {
	return &usageRow{
		CPU: newAmountsRow(&u.CPU), Mem: newAmountsRow(&u.Mem), Disk: newAmountsRow(&u.Disk),
		Transfer: newAmountsRow(&u.Transfer),
	}
}

func newAmountsRow(m *api.Amounts) amountsRow {
	return amountsRow{
		Used: decimalText(m.Used), Burst: decimalText(m.Burst), Subscribed: decimalText(m.Subscribed),
		Limit: decimalText(m.Limit),
	}
}

// decimalText is an exact number; empty if it is not known.
func decimalText(n decimal.NullDecimal) string {
	if !n.Valid {
		return ""
	}
	return n.Decimal.String()
}

func newSubscriptionRow(s *api.Subscription) subscriptionRow {
	row := subscriptionRow{
		Subscription: s.UUID, Type: s.Type, Name: s.TypeName, Resource: s.Resource, Unit: s.Unit, Months: s.Months,
		StartsAt: timeIfAny(s.Start), EndsAt: timeIfAny(s.End),
	}
	if s.Quantity.Valid {
		row.Quantity = s.Quantity.Decimal.String()
	}
	return row
}

// write writes the report as text.
func (r *accountReport) write(w io.Writer) {
	p := &r.Profile
	pairs := [][2]string{
		{"endpoint", r.Endpoint}, {"account", p.UUID}, {"e-mail", p.Email},
		{"name", strings.TrimSpace(p.FirstName + " " + p.LastName)}, {"nickname", p.NickName},
		{"company", p.Company}, {"country", p.Country}, {"currency", p.Currency}, {"type", p.Type},
	}
	if r.Balance != nil {
		pairs = append(pairs, [2]string{"balance", r.Balance.String()})
	}
	writeDetails(w, pairs)
	if r.Usage != nil {
		r.Usage.write(w)
	}
	if r.Subscriptions != nil && len(*r.Subscriptions) > 0 {
		writeSubscriptions(w, *r.Subscriptions)
	}
}

func (u *usageRow) write(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "\nUSAGE\tUSED\tBURST\tSUBSCRIBED\tLIMIT")
	for _, row := range []struct {
		name string
		amountsRow
	}{{"cpu", u.CPU}, {"mem", u.Mem}, {"disk", u.Disk}, {"transfer", u.Transfer}} {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", row.name, cmp.Or(row.Used, "-"), cmp.Or(row.Burst, "-"),
			cmp.Or(row.Subscribed, "-"), cmp.Or(row.Limit, "-"))
	}
}

func writeSubscriptions(w io.Writer, rows []subscriptionRow) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "\nSUBSCRIPTION\tTYPE\tQUANTITY\tFROM\tUNTIL\tRESOURCE")
	for i := range rows {
		s := &rows[i]
		quantity := strings.TrimSpace(s.Quantity + " " + s.Unit)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", cmp.Or(s.Subscription, "-"), cli.OneLine(cmp.Or(s.Name, s.Type)),
			cli.OneLine(cmp.Or(quantity, "-")), dateText(s.StartsAt), dateText(s.EndsAt),
			cli.OneLine(cmp.Or(s.Resource, "-")))
	}
}

func dateText(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}
