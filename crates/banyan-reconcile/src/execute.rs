//! One plan, step by step.
