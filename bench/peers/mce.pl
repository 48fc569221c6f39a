# Perl: MCE, with MCE::Map for arrays and MCE::Channel for messages.
#
#     perl mce.pl WORKLOAD [NAME=NUMBER ...]      names as in peer.py
use strict;
use warnings;
use MCE;
use MCE::Channel;
use MCE::Map;
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant { MASK => 0x5A5A5A5A, BLOCKS => 8 };

my $workload = shift @ARGV // die "usage: mce.pl WORKLOAD [NAME=NUMBER ...]\n";
my %number = map { split /=/ } @ARGV;

sub number { my ($name, $usual) = @_; return $number{$name} // $usual }

sub cpu_s {
    my (undef, @ticks) = POSIX::times();
    my $sum = 0;
    $sum += $_ for @ticks;
    return $sum / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub peak_rss_kb {
    open my $status, '<', '/proc/self/status' or return 0;
    my ($line) = grep { /^VmHWM/ } <$status>;
    return $line =~ /(\d+)/ ? $1 : 0;
}

sub measure {
    my ($once, $calls, $warm_ups) = @_;
    my @ns;
    $once->() for 1 .. $warm_ups;
    for (1 .. $calls) {
        my $begin = clock_gettime(CLOCK_MONOTONIC);
        $once->();
        push @ns, 1e9 * (clock_gettime(CLOCK_MONOTONIC) - $begin);
    }
    return sort { $a <=> $b } @ns;
}

sub emit {
    my ($items, $more, @ns) = @_;
    my ($sum, $p50, $p99) = (0, $ns[@ns / 2], $ns[@ns * 99 / 100]);
    $sum += $_ for @ns;
    printf '{"peer":"perl:MCE","workload":"%s","n":%d,"seconds":%.9f,"per_item_ns":%.2f,"cpu_seconds":%.4f,'
        . '"peak_rss_kb":%d,"p50_ns":%.0f,"p99_ns":%.0f%s}' . "\n",
        $workload, $items * @ns, $sum / 1e9, $p50 / $items, cpu_s(), peak_rss_kb(), $p50, $p99, $more;
}

sub map_squares {
    my ($singly) = @_;
    my @in = map { $_ * 0.5 } 0 .. number('count', 50000) - 1;
    my $square = sub { $_ * $_ };
    MCE::Map->init(max_workers => 2, chunk_size => $singly ? 1 : POSIX::ceil(@in / 8));
    my @out;
    my @ns = measure(sub { @out = MCE::Map->run($square, \@in) }, number('calls', 3), 1);
    MCE::Map->finish;
    $out[$_] == $in[$_] * $in[$_] or die "a square is wrong\n" for 0 .. $#in;
    emit(scalar @in, '', @ns);
}

# The workers stay as long as they run the same code.
sub open_pool {
    my ($workers, $gather, $work) = @_;
    my $pool = MCE->new(max_workers => $workers, chunk_size => 1, gather => $gather, user_func => $work);
    return $pool->spawn;
}

sub call_squares {
    my $answer;
    my $pool = open_pool(1, sub { $answer = shift }, sub { MCE->gather($_ * $_) });
    my @ns = measure(sub { $pool->process([3]); $answer == 9 or die "an answer is wrong\n" }, number('calls', 500), 20);
    $pool->shutdown;
    emit(1, '', @ns);
}

sub flip_blocks {
    my $bytes = number('bytes', 16 << 20);
    my $mask = pack('L', MASK) x ($bytes / 4);
    my @in = map { pack('L', $_) x ($bytes / 4) } 0 .. BLOCKS - 1;
    my @tasks = map { $in[$_ % BLOCKS] } 0 .. number('count', 16) - 1;
    my $done = 0;
    my $check = sub {
        my ($i, $out) = @_;
        unpack('L', substr($out, 4, 4)) == ($i % BLOCKS ^ MASK) or die "a word is wrong\n";
        $done++;
    };
    my $pool = open_pool(2, $check, sub { my (undef, $chunk, $id) = @_; MCE->gather($id - 1, $chunk->[0] ^ $mask) });
    my @ns = measure(sub { $pool->process(\@tasks) }, number('calls', 1), 1);
    $pool->shutdown;
    $done == (@ns + 1) * @tasks or die "blocks are missing\n";
    emit(scalar @tasks, '', @ns);
}

sub weight {
    my $k = shift;
    return 300 if $k >= 1700 && $k < 1800 && $k % 25 == 0;
    return 30 if $k >= 1200 && $k < 1260;
    return 1 + 3 * $k / 2000;
}

sub toil {
    my ($k, $steps) = @_;
    my $x = $k + 1;
    $x = $x * 16807 % 2147483647 for 1 .. int(weight($k) * $steps);
    return $x;
}

sub share_toil {
    my $steps = number('steps', 3500);
    my (@expected, @out);
    my $serial = sub { @expected = map { toil($_, $steps) } 0 .. 1999 };
    my ($before) = measure($serial, 1, 0);
    my $work = sub { toil($_, $steps) };
    MCE::Map->init(max_workers => 2, chunk_size => 1);
    MCE::Map->run($work, [0, 1]);
    my @ns = measure(sub { @out = MCE::Map->run($work, [0 .. 1999]) }, number('calls', 1), 0);
    MCE::Map->finish;
    my ($after) = measure($serial, 1, 0);
    "@out" eq "@expected" or die "a number is wrong\n";
    my $alone = ($before + $after) / 2;
    emit(2000, sprintf(',"efficiency":%.4f,"serial_s":%.4f', $alone / (2 * $ns[@ns / 2]), $alone / 1e9), @ns);
}

sub open_and_close {
    my $once = sub {
        my $answer;
        my $pool = open_pool(2, sub { $answer = shift }, sub { MCE->gather($_ * $_) });
        $pool->process([3]);
        $pool->shutdown;
        $answer == 9 or die "an answer is wrong\n";
    };
    emit(1, '', measure($once, number('calls', 10), 1));
}

sub stream {
    my $big = $workload eq 'w6big';
    my ($calls, $count) = (number('calls', 3), number('count', $big ? 1000 : 20000));
    my $padding = "\0" x (number('bytes', $big ? 65536 : 64) - 8);
    my $channel = MCE::Channel->new(impl => 'Simple');
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        for (0 .. $calls) { $channel->send(pack('Q', $_) . $padding) for 0 .. $count - 1 }
        POSIX::_exit(0);
    }
    my $once = sub {
        my $sum = 0;
        $sum += unpack 'Q', $channel->recv for 1 .. $count;
        $sum == $count * ($count - 1) / 2 or die "messages are missing\n";
    };
    my @ns = measure($once, $calls, 1);
    waitpid $pid, 0;
    emit($count, '', @ns);
}

sub ping_pong {
    my $calls = number('calls', 5000);
    my $channel = MCE::Channel->new(impl => 'Simple');
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        $channel->send2(3 * $channel->recv) for 1 .. $calls + 200;
        POSIX::_exit(0);
    }
    my @ns = measure(sub { $channel->send(7); $channel->recv2 == 21 or die "an answer is wrong\n" }, $calls, 200);
    waitpid $pid, 0;
    emit(1, '', @ns);
}

my %workloads = (
    w2 => sub { map_squares(0) }, w2c1 => sub { map_squares(1) }, w3 => \&call_squares, w4 => \&flip_blocks,
    w5 => \&share_toil, w6 => \&stream, w6big => \&stream, w7 => \&ping_pong, w8 => \&open_and_close,
);
($workloads{$workload} // die "there is no workload $workload\n")->();
