package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// The values of claim:type.
const (
	claimExclusive = "exclusive"
	claimShared    = "shared"
)

// driveChanges has the flags of drives set.
type driveChanges struct {
	name, size, claimType       string
	tags, addTags, removeTags   []string
	readers                     []string
	keys                        []string
	yes                         bool
	setTags, setName, setReader bool // the flag was given, maybe with an empty value
}

func (a *app) drivesSet() *cobra.Command {
	f := new(driveChanges)
	cmd := &cobra.Command{
		Use:   "set ENDPOINT:UUID|NAME",
		Short: "Change name, size, tags, readers or claim type of a drive",
		Long: `Change the attributes of a drive that are given as flags, and print the drive.

--tag replaces all tags, and --tag '' removes them; but those by which jobs know their drives,
transferd:…, stay until --remove-tag removes them. --key sets any other key, such as use or user:owner;
without a VALUE it unsets the key. Endpoints ignore keys that they do not have, and then this warns.

A larger drive ends with zeros. A smaller one loses what is behind its new end, so on a terminal
this asks first, and without a terminal it needs --yes. The size of a drive in use cannot change.`,
		Example: `  transferctl drives set zrh:$drive --name web --size 20GiB
  transferctl drives set zrh:$drive --add-tag nightly --claim-type shared
  transferctl drives set zrh:$drive --key user:owner=ops`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.operands(a.driveOperand),
	}
	flags := cmd.Flags()
	f.register(flags)
	completeValues(cmd, "claim-type", claimExclusive, claimShared)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.setName, f.setTags, f.setReader = flags.Changed("name"), flags.Changed("tag"), flags.Changed("readers")
		keys, err := f.object()
		if err != nil {
			return err
		}
		if len(keys) == 0 && len(f.addTags)+len(f.removeTags) == 0 {
			return transfer.Errorf(transfer.CodeInvalid, cmd.CommandPath()+" --help lists the flags",
				"there is nothing to change")
		}
		c, drive, err := a.existing(cmd.Context(), &driveObjects, args[0])
		if err != nil {
			return err
		}
		if err := a.completeChanges(cmd.Context(), c, args[0], drive, f, keys); err != nil {
			return err
		}
		return a.setDrive(cmd.Context(), c, drive, keys)
	}
	return cmd
}

func (f *driveChanges) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "new `name`")
	flags.StringVar(&f.size, "size", "", "new `size`, such as 10G or 10GiB")
	flags.StringArrayVar(&f.tags, "tag", nil, "`tag`, instead of all that the drive has (may be repeated)")
	flags.StringArrayVar(&f.addTags, "add-tag", nil, "`tag` to add (may be repeated)")
	flags.StringArrayVar(&f.removeTags, "remove-tag", nil, "`tag` to remove (may be repeated)")
	flags.StringSliceVar(&f.readers, "readers", nil, "`UUIDs` of accounts that may read the drive, or all, or none")
	flags.StringVar(&f.claimType, "claim-type", "",
		"`type`: exclusive, or shared if several servers may hold the drive")
	flags.StringArrayVar(&f.keys, "key", nil, "another key, as `KEY=VALUE` (may be repeated)")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before the drive becomes smaller")
}

// flagOfKey is the flag for each key that has one.
var flagOfKey = map[string]string{
	"name": "name", "size": "size", "tags": "tag", "readers": "readers", keyClaimType: "claim-type",
}

// object is the keys of the call, as far as they do not depend on the drive.
func (f *driveChanges) object() (api.Object, error) {
	keys := make(api.Object)
	for _, pair := range f.keys {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write --key KEY=VALUE",
				"--key: %q is not a key and its value", pair)
		}
		if flag, ok := flagOfKey[key]; ok {
			return nil, transfer.Errorf(transfer.CodeInvalid, "write --"+flag+" VALUE", "--key: %s has a flag", key)
		}
		keys[key] = value
	}
	if f.setName {
		keys["name"] = f.name
	}
	if f.size != "" {
		n, err := parseSize("size", f.size)
		if err != nil {
			return nil, err
		}
		keys["size"] = strconv.FormatInt(n, 10)
	}
	if f.setTags {
		tags := slices.DeleteFunc(slices.Clone(f.tags), func(t string) bool { return t == "" })
		keys["tags"] = strings.Join(tags, " ")
	}
	if f.setReader {
		readers, err := readersOf(f.readers)
		if err != nil {
			return nil, err
		}
		keys["readers"] = strings.Join(readers, " ")
	}
	if f.claimType != "" {
		if f.claimType != claimExclusive && f.claimType != claimShared {
			return nil, transfer.Errorf(transfer.CodeInvalid, "use exclusive or shared",
				"--claim-type: %q is not a type of claim", f.claimType)
		}
		keys[keyClaimType] = f.claimType
	}
	given := api.CreateOptions{
		Name: f.name, Tags: slices.Concat(strings.Fields(keys["tags"]), f.addTags, f.removeTags),
	}
	return keys, given.Check()
}

// completeChanges adds the keys that depend on what the drive is now, and asks before it becomes
// smaller.
func (a *app) completeChanges(
	ctx context.Context, c *api.Client, address, drive string, f *driveChanges, keys api.Object,
) error {
	changesTags := f.setTags || len(f.addTags)+len(f.removeTags) > 0
	if f.size == "" && !changesTags {
		return nil
	}
	info, err := a.driveInfo(ctx, c, drive)
	if err != nil {
		return err
	}
	if changesTags {
		tags := info.Tags
		if f.setTags {
			tags = replacedTags(tags, strings.Fields(keys["tags"]))
		}
		keys["tags"] = strings.Join(f.changedTags(tags), " ")
	}
	size, _ := strconv.ParseInt(keys["size"], 10, 64)
	if f.size == "" || size == info.Size {
		return nil
	}
	if err := a.checkNotHeld(ctx, c, address, &info); err != nil {
		return err
	}
	if size > info.Size || f.yes {
		return nil
	}
	text := fmt.Sprintf("drive %s (%s) has %d bytes, and with %d the last %s of them are lost",
		drive, info.Name, info.Size, size, sizeText(info.Size-size))
	if !a.interactive() {
		return transfer.Errorf(transfer.CodeInvalid, "--yes makes it smaller without asking", "%s", text)
	}
	return a.confirm(text + "; make it smaller?")
}

// replacedTags replaces all tags but those by which jobs know their drives.
func replacedTags(old, tags []string) []string {
	own := slices.DeleteFunc(slices.Clone(old), func(t string) bool { return !transfer.IsOurTag(t) })
	return slices.Concat(slices.DeleteFunc(tags, func(t string) bool { return slices.Contains(own, t) }), own)
}

func (f *driveChanges) changedTags(tags []string) []string {
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return slices.Contains(f.removeTags, t) })
	for _, t := range f.addTags {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

func (a *app) drivesShare() *cobra.Command {
	var readers []string
	cmd := &cobra.Command{
		Use:   "share ENDPOINT:UUID|NAME [READER...]",
		Short: "Set the accounts that may read a drive",
		Long: `Set the accounts that may read a drive and clone it, and print the drive. READER is the UUID of an
account (transferctl account show prints it), or all. They replace the readers that the drive has;
none removes them.`,
		Example: `  transferctl drives share zrh:$drive all
  transferctl drives share zrh:$drive 0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f
  transferctl drives share zrh:$drive none`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.operands(a.driveOperand, readerOperand),
	}
	cmd.Flags().StringSliceVar(&readers, "readers", nil, "`UUIDs` of accounts that may read the drive, or all, or none")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		readers = append(readers, args[1:]...)
		if len(readers) == 0 {
			return transfer.Errorf(transfer.CodeInvalid, "name account UUIDs, or all, or none",
				"drives share needs the accounts that may read the drive")
		}
		uuids, err := readersOf(readers)
		if err != nil {
			return err
		}
		c, drive, err := a.existing(cmd.Context(), &driveObjects, args[0])
		if err != nil {
			return err
		}
		return a.setDrive(cmd.Context(), c, drive, api.Object{"readers": strings.Join(uuids, " ")})
	}
	return cmd
}

// setDrive changes keys of a drive, and prints it. It warns of keys that the endpoint ignored.
func (a *app) setDrive(ctx context.Context, c *api.Client, drive string, keys api.Object) error {
	var info api.DriveInfo
	err := a.retryBriefly(ctx, anyFailure, func() (err error) {
		info, err = c.SetDrive(ctx, drive, keys)
		return err
	})
	if err != nil {
		return err
	}
	a.warnIgnored(keys, info.Keys)
	return a.printDrive(ctx, c, &info)
}

// warnIgnored warns of the keys that an endpoint has not set: endpoints ignore keys that they do
// not have.
func (a *app) warnIgnored(sent, got api.Object) {
	var ignored []string
	for key, value := range sent {
		same := got[key] == value || key == keyClaimType && value == claimExclusive && got[key] == "" ||
			slices.Equal(sortedWords(got[key]), sortedWords(value))
		if !same {
			ignored = append(ignored, key)
		}
	}
	slices.Sort(ignored)
	for _, key := range ignored {
		text := fmt.Sprintf("the endpoint did not set %s to %q; it is %q", key, sent[key], got[key])
		if got[key] == "" {
			text = "the endpoint ignored the key " + key
		}
		a.warn(transfer.Errorf(transfer.CodeRefused, "check the spelling of the key", "%s", text))
	}
}

func sortedWords(s string) []string {
	words := strings.Fields(s)
	slices.Sort(words)
	return words
}
