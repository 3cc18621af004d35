package sandbox

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// product is something that the account can subscribe to, a row of the price list.
type product struct {
	key  string // in inputs and responses
	name string // type_str
	unit string // of quantities
	// sub is the price of per units for a month, burst that of what exceeds the subscriptions;
	// of transfer it is the price of moving per units.
	sub, burst money
	per        int64
	least      int64 // quantity of a subscription
	most       int64
	parse      func(string) (int64, error) // of a quantity
}

// The resources of which an account may use more than it has subscribed to: burst.
var (
	productCPU = &product{
		key: "cpu", name: "CPU", unit: "core MHz", sub: 900, burst: 1440, per: 1000,
		least: 2000, most: 10_000_000, parse: parseCount, // the least is the manual's (11.10)
	}
	productMem = &product{
		key: "mem", name: "RAM", unit: "MB", sub: 1350, burst: 2160, per: 1024,
		least: 256, most: 1 << 30, parse: parseMegabytes,
	}
	productDisk = &product{
		key: "disk", name: "disk", unit: "bytes", sub: 12, burst: 18, per: 1 << 30,
		least: 1 << 30, most: tooLarge, parse: parseSize,
	}
	productTransfer = &product{
		key: "xfer", name: "data transfer", unit: "bytes", sub: 5, burst: 8, per: 1 << 30,
		least: 1 << 30, most: tooLarge, parse: parseSize,
	}
	resourceProducts = []*product{productCPU, productMem, productDisk, productTransfer}
)

// The products that are counted.
var (
	productIP       = countedProduct("ip", "static IP", "address", 300)
	productVLAN     = countedProduct("vlan", "VLAN", "network", 700)
	networkProducts = []*product{productIP, productVLAN}

	softwareProducts = []*product{
		countedProduct("msft_lwa_00135", "Windows Web Server 2008", "licence", 1500),
		countedProduct("msft_p73_04837", "Windows Server 2008 Standard", "licence", 2500),
		countedProduct("msft_p72_04169", "Windows Server 2008 Enterprise", "licence", 6000),
		countedProduct("msft_6wc_00002", "Windows Remote Desktop Services", "licence", 500),
		countedProduct("msft_tfa_00009", "SQL Server 2008 Web", "licence", 1800),
		countedProduct("msft_228_03159", "SQL Server 2008 Standard", "licence", 20000),
	}
)

func countedProduct(key, name, unit string, price money) *product {
	return &product{
		key: key, name: name, unit: unit, sub: price, burst: price, per: 1,
		least: 1, most: 100, parse: parseCount,
	}
}

// productOf is the product of that key, nil if there is none.
func productOf(key string) *product {
	for _, list := range [][]*product{resourceProducts, networkProducts, softwareProducts} {
		for _, p := range list {
			if p.key == key {
				return p
			}
		}
	}
	return nil
}

// price is what a subscription costs.
func (p *product) price(quantity int64, months int) money {
	return (p.sub * money(months)).times(quantity, p.per)
}

// quantity parses the quantity of a subscription. why is empty for a valid one.
func (p *product) quantity(text string) (n int64, why string) {
	n, err := p.parse(text)
	switch {
	case err != nil:
		return 0, err.Error()
	case n < p.least:
		return 0, fmt.Sprintf("The minimum %s subscription is %d %s", p.name, p.least, p.unit)
	case n > p.most:
		return 0, fmt.Sprintf("The maximum %s subscription is %d %s", p.name, p.most, p.unit)
	}
	return n, ""
}

// pricingInfo handles /pricing/info (manual 11): the price of a month of 1000 core MHz, 1024 MB of
// RAM, 1 GiB of disk, one address, one VLAN and one licence, and of 1 GiB of transfer.
func (s *Server) pricingInfo(*request) (response, error) {
	o := object{
		{"start", fmt.Sprintf("%d-01-01 00:00:00", firstYear)},
		{"end", fmt.Sprintf("%d-12-31 23:59:59", lastYear)},
	}
	for _, p := range resourceProducts {
		o.add(p.key+":sub", p.sub.String())
		o.add(p.key+":burst", p.burst.String())
	}
	for _, list := range [][]*product{networkProducts, softwareProducts} {
		for _, p := range list {
			o.add(p.key, p.sub.String())
		}
	}
	return textResponse(o), nil
}

var (
	errCount     = errors.New("must be a number: digits alone")
	errMegabytes = errors.New("must be a number of MB: digits alone, or digits and M, G or T")
)

// parseCount parses decimal digits; values of more than 63 bits are errors, 0 is not.
func parseCount(s string) (int64, error) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, errCount
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, errCount
	}
	return n, nil
}

// parseMegabytes parses a number of MB (2^20 bytes), which is the unit of mem, or a size with a
// suffix that is a whole number of MB, such as 2G.
func parseMegabytes(s string) (int64, error) {
	n, err := parseCount(s)
	if err == nil && n <= math.MaxInt64>>20 {
		return n, nil
	}
	size, err := parseSize(s)
	if err != nil || suffix(s[len(s)-1]) == 0 || size%(1<<20) != 0 {
		return 0, errMegabytes
	}
	return size >> 20, nil
}
