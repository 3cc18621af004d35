package transfer

import (
	"testing"
	"time"
)

// TestMigrationOwes: what a migration has to undo, and when its drives are cloned and copied.
func TestMigrationOwes(t *testing.T) {
	requested := Snapshot{Requested: time.Unix(1, 0), Drive: "clone"}
	one := MigratingDrive{Job: "j", Copy: "c"}
	left := Snapshot{Requested: time.Unix(1, 0), Drive: "clone", Left: true}
	asked := MigratingDrive{Snapshot: left, Job: "j"}
	for name, tc := range map[string]struct {
		plan         MigrationPlan
		owes, copied bool
	}{
		"planned":            {MigrationPlan{Drives: []MigratingDrive{{}, {}}}, false, false},
		"a clone":            {MigrationPlan{Drives: []MigratingDrive{{}, {Snapshot: requested}}}, true, false},
		"a clone that stays": {MigrationPlan{Drives: []MigratingDrive{{}, {Snapshot: left}}}, false, false},
		"a job":              {MigrationPlan{Drives: []MigratingDrive{asked, {Job: "k"}}}, true, false},
		"one copy":           {MigrationPlan{Drives: []MigratingDrive{one, {Job: "k"}}}, true, false},
		"all copies":         {MigrationPlan{Drives: []MigratingDrive{one, {Job: "k", Copy: "d"}}}, false, true},
	} {
		plan := Plan{Migration: &tc.plan}
		if plan.Owes() != tc.owes || tc.plan.Copied() != tc.copied {
			t.Errorf("%s: got owes %t, copied %t; want %t, %t", name, plan.Owes(), tc.plan.Copied(), tc.owes, tc.copied)
		}
	}
}
