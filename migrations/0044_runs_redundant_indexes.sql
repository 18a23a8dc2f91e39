-- Each has a successor with the same columns in ascending order, or with more of them.
-- allowed: it takes no time once it has the lock, and no more than two seconds to get it
drop index runs_space;
-- allowed: as above
drop index runs_pipeline;
-- allowed: as above
drop index runs_metrics;
