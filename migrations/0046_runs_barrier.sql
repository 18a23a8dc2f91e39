-- Whoever wrote runs when 0045 was committed has counted them the old way, and has ended when this lock is taken.
-- allowed: it is held for an instant, since the transaction ends with it
lock table runs in share mode;
