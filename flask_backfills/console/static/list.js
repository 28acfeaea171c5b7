// The list of backfills: filters that submit by themselves, and rows that are chosen.
