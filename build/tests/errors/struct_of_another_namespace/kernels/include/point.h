#pragma once
struct Point { float x; };
