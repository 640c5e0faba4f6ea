//! Regions that die, throttle and return in the middle.
