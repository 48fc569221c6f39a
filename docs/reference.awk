# Gives doxygen the public headers with their comments as it wants them; people read them as they are.
#   the first comment of a file    is about the file; crossfork.h's is the main page
#   a comment at the margin        is about what follows it
#   a comment behind a member      is about that
#   " *   name  text"              is a parameter
#   "Returns", "Threads:", ...     begin a section
#   code is indented by five, after an empty line or a colon

# Ends an example; what is left of the comment's last line is "*/" or nothing.
function end_code() {
    if (code)
        print " * @endcode"
    code = 0
}

# The head of a file.
FNR == 1 {
    file = FILENAME
    sub(/.*\//, "", file)
    sub(/^\/\* /, file == "crossfork.h" ? "/** @mainpage\n * " : "/** @file\n * ")
    inside = $0 !~ /\*\/$/
    previous = $0
    print
    next
}

/^\/\* ----/ { # the title of a section is no comment of what follows
    while ($0 !~ /\*\/$/)
        getline
    print ""
    next
}

/^\/\* / && !inside {
    sub(/^\/\*/, "/**")
    inside = $0 !~ /\*\/$/
    sub(/^\/\*\*   /, "/** @param ")
    previous = $0
    print
    next
}

inside {
    last = sub(/ ?\*\/$/, "")
    if (/^ \*     / && (code || previous == " *" || previous ~ /:$/)) {
        if (!code)
            print " * @code{.c}"
        code = 1
    } else if ($0 != " *") {
        end_code()
        if (/^ \*   [a-z_]+(, [a-z_]+)*  /) {
            sub(/^ \*   /, " * @param ")
            while (match($0, /@param [a-z_,]+, [a-z_]+/)) # "in, out" is one word to doxygen
                sub(/, /, ",")
        } else if (/^ \*    /) {
            sub(/^ \* +/, " * ")
        }
        sub(/^ \* Returns /, " * @return ")
        sub(/^ \* Threads: /, " * @par Threads\n * ")
        sub(/^ \* Differences: /, " * @par Differences\n * ")
        sub(/^ \* Systems: /, " * @par Systems\n * ")
        if (!code)
            gsub(/</, "\\<")
    }
    previous = $0
    print
    if (last) {
        end_code()
        print " */"
        inside = 0
    }
    next
}

# Behind a member, an enumerator or a macro.
/[;,A-Za-z0-9)}] +\/\* / && !/\\$/ {
    sub(/\/\* /, "/**< ")
}

{ print }
